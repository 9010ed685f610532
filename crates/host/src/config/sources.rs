//! The places where settings are said, each under a name that a person recognises.

use std::{fs, io::ErrorKind, path::Path};

use figment::{
    Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    util::nest,
    value::{Dict, Map, Value},
};
use serde::Serialize;

use crate::exit::{CliError, Exit};

/// One of them, with all that it says.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    says: Dict,
}

impl Source {
    pub(super) fn defaults(says: Dict) -> Self {
        Self { name: "default".to_owned(), says }
    }

    pub(super) fn file(path: &Path, is_required: bool) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !is_required => String::new(),
            Err(error) => return Err(CliError::new(Exit::Config, format!("read {name}")).because(error)),
        };
        let says = Toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            CliError::new(Exit::Config, format!("{name}, line {line}: {}", error.message()))
        })?;
        Ok(Self { name, says })
    }

    /// One source a variable, so that a complaint can name it.
    pub(super) fn variables(
        all: impl IntoIterator<Item = (String, String)>,
        prefix: &str,
        defaults: &Dict,
    ) -> impl Iterator<Item = Self> {
        all.into_iter().filter_map(move |(variable, text)| {
            let key = variable.strip_prefix(prefix).filter(|key| !key.is_empty())?;
            let path = key.to_lowercase().replace("__", ".");
            let says = nest(&path, value_of(text, default_at(defaults, &path))).into_dict()?;
            Some(Self { name: format!("environment variable {variable}"), says })
        })
    }

    pub(super) fn flags(overrides: &serde_json::Value) -> Result<Self, CliError> {
        let says = match overrides {
            serde_json::Value::Null => Dict::new(),
            said => dict_of(&without_nulls(said))?,
        };
        Ok(Self { name: "command line".to_owned(), says })
    }
}

impl Provider for Source {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.says.clone()))
    }
}

/// What a struct says, by table and key.
pub(super) fn dict_of(value: &impl Serialize) -> Result<Dict, CliError> {
    let value = Value::serialize(value)
        .map_err(|error| CliError::new(Exit::Config, "write down the settings").because(error))?;
    let kind = value.to_actual();
    value.into_dict().ok_or_else(|| CliError::new(Exit::Config, format!("settings are a table, not {kind}")))
}

pub(super) fn default_at<'a>(defaults: &'a Dict, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = defaults.get(first)?;
    rest.map_or(Some(value), |rest| default_at(value.as_dict()?, rest))
}

/// A variable has no type. Where text is wanted it is text, even if it looks like a number; elsewhere it is read as TOML.
fn value_of(text: String, default: Option<&Value>) -> Value {
    match default {
        Some(Value::String(..)) => Value::from(text),
        _ => text.parse().unwrap_or_else(|never| match never {}),
    }
}

fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(entries) => entries
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        other => other.clone(),
    }
}
