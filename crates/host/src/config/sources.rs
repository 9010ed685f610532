//! The places where settings are said, each under a name that a person recognises.

use std::{fs, io::ErrorKind, path::Path};

use figment::{
    Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    util::nest,
    value::{Dict, Map, Value},
};
use serde::Serialize;

use super::{Origin, lines};
use crate::exit::{CliError, Exit};

/// One of them, with all that it says.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) origin: Origin,
    says: Dict,
}

impl Source {
    pub(super) fn defaults(says: Dict) -> Self {
        Self { origin: Origin::Default, says }
    }

    /// One source a setting, so that a complaint can name its line.
    pub(super) fn file(path: &Path, is_required: bool) -> Result<Vec<Self>, CliError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::text(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_required => Ok(Vec::new()),
            Err(error) => Err(CliError::new(Exit::Config, format!("read {}", path.display())).because(error)),
        }
    }

    /// What is written in the file at `path`.
    pub(super) fn text(path: &Path, text: &str) -> Result<Vec<Self>, CliError> {
        let says: Dict = Toml::from_str(text).map_err(|error| {
            let line = lines::at(text, error.span().map_or(0, |span| span.start));
            CliError::new(Exit::Config, format!("{}, line {line}: {}", path.display(), error.message()))
        })?;
        let lines = lines::of(text);
        let mut settings = Vec::new();
        each_setting(says, &mut Vec::new(), &mut |at, value| {
            let origin = Origin::File { path: path.to_owned(), line: lines.get(at).copied() };
            settings.push(Self { origin, says: nested(at, value) });
        });
        Ok(settings)
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
            Some(Self { origin: Origin::Environment { variable }, says })
        })
    }

    pub(super) fn flags(overrides: &serde_json::Value) -> Result<Self, CliError> {
        let says = match overrides {
            serde_json::Value::Null => Dict::new(),
            said => dict_of(&without_nulls(said))?,
        };
        Ok(Self { origin: Origin::CommandLine, says })
    }
}

impl Provider for Source {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.says.clone()))
    }
}

/// Calls `visit` with the path of every value; an empty table is one too, so that one that nothing knows is found.
fn each_setting(dict: Dict, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], Value)) {
    for (key, value) in dict {
        path.push(key);
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => each_setting(inner, path, visit),
            leaf => visit(path, leaf),
        }
        path.pop();
    }
}

fn nested(path: &[String], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [key] => Dict::from([(key.clone(), value)]),
        [table, rest @ ..] => Dict::from([(table.clone(), Value::from(nested(rest, value)))]),
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
