//! Configuration: defaults, then a TOML file, then environment variables, then flags; the later wins.
//!
//! A key that nothing knows is an error, wherever it was said: a misspelt limit that silently keeps its default is found
//! out on the day when it should have held.

use std::{env, path::PathBuf};

use figment::{
    Figment, Profile, Provider as _,
    value::{Dict, Value},
};
use serde::{Serialize, de::DeserializeOwned};

use self::sources::Source;
use crate::exit::CliError;

mod complaint;
mod sources;

/// Where a program's configuration comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Whether a missing file is an error (a person named it) or means "defaults" (the usual place).
    pub file_required: bool,
    /// Prefix of the environment variables, with its last underscore: `SEALSTREAM_AGENT_`. Behind it, two underscores
    /// part a table from its key: `SEALSTREAM_AGENT_QUEUE__ACK_WAIT` is `queue.ack_wait`.
    pub env_prefix: &'static str,
    /// What flags said: a JSON object shaped like the file. Nulls, and `Value::Null` as a whole, say nothing.
    pub overrides: serde_json::Value,
}

/// One setting as it holds now, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its dotted name, as in `queue.ack_wait`.
    pub key: String,
    /// Its value; null where it is unset.
    pub value: serde_json::Value,
    /// `default`, a file's path, `environment variable SEALSTREAM_…` or `command line`.
    pub origin: String,
}

/// Reads the configuration of a program. `T` must be `#[serde(default, deny_unknown_fields)]`, as must be every table
/// in it.
///
/// # Errors
///
/// An unreadable file, an unknown key (with the nearest known one), a value of a wrong type: all with the place where
/// it was said, and [`crate::exit::Exit::Config`].
pub fn load<T>(sources: &Sources) -> Result<T, CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    extract(&merge::<T>(sources, env::vars())?)
}

/// Every setting with its origin, in the order of their names.
///
/// # Errors
///
/// As [`load`].
pub fn explain<T>(sources: &Sources) -> Result<Vec<Setting>, CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let merged = merge::<T>(sources, env::vars())?;
    extract::<T>(&merged)?;
    Ok(settings(&merged))
}

fn merge<T: Default + Serialize>(
    sources: &Sources,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Figment, CliError> {
    let defaults = sources::dict_of(&T::default())?;
    let mut merged = Figment::new();
    if let Some(path) = &sources.file {
        merged = merged.merge(Source::file(path, sources.file_required)?);
    }
    for variable in Source::variables(variables, sources.env_prefix, &defaults) {
        merged = merged.merge(variable);
    }
    merged = merged.merge(Source::flags(&sources.overrides)?);
    Ok(merged.join(Source::defaults(defaults)))
}

fn extract<T: DeserializeOwned>(merged: &Figment) -> Result<T, CliError> {
    merged.extract().map_err(|error| complaint::about(&error, merged))
}

fn settings(merged: &Figment) -> Vec<Setting> {
    let mut settings = Vec::new();
    each_leaf(&tree(merged), &mut Vec::new(), &mut |key, value| {
        settings.push(Setting {
            key: key.to_owned(),
            value: serde_json::to_value(value).unwrap_or_default(),
            origin: merged.get_metadata(value.tag()).map_or_else(String::new, |origin| origin.name.to_string()),
        });
    });
    settings
}

/// All that was said, by table and key, where each value knows who said it.
fn tree(merged: &Figment) -> Dict {
    merged.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// Calls `visit` with the dotted name of every value that is not a table.
fn each_leaf<'a>(dict: &'a Dict, path: &mut Vec<&'a str>, visit: &mut impl FnMut(&str, &Value)) {
    for (key, value) in dict {
        path.push(key);
        match value {
            Value::Dict(_, inner) => each_leaf(inner, path, visit),
            leaf => visit(&path.join("."), leaf),
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests;
