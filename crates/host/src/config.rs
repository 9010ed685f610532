//! Configuration: defaults, then a TOML file, then environment variables, then flags; the later wins.
//!
//! A key that nothing knows is an error, wherever it was said: a misspelt limit that silently keeps its default is found
//! out on the day when it should have held. Every value knows who said it, to the line of the file; [`show()`] prints
//! that. Secrets are never shown.

use std::{
    collections::BTreeMap,
    env, fmt,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Profile, Provider as _,
    value::{Dict, Value},
};
use serde::{Serialize, de::DeserializeOwned};

use self::sources::Source;
pub use self::{
    live::{Change, ChangedKey, Listening, Live},
    show::show,
};
use crate::exit::CliError;

mod complaint;
mod lines;
mod live;
mod secret;
mod show;
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
    /// Its value as it may be shown; null where it is unset.
    pub value: serde_json::Value,
    /// Who said it.
    pub origin: Origin,
}

/// Who said a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Origin {
    /// Nobody: the program's own value.
    Default,
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line of the key.
        line: Option<usize>,
    },
    /// The environment.
    Environment {
        /// The variable.
        variable: String,
    },
    /// A flag.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
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
    merge::<T>(sources, env::vars())?.extract()
}

/// The same for a text that is no file yet, which complaints call `name`: neither environment nor flags are asked.
///
/// # Errors
///
/// As [`load`].
pub fn parse<T>(name: &Path, text: &str) -> Result<T, CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut merged = Merged::default();
    for source in Source::text(name, text)? {
        merged.merge(source);
    }
    merged.join(Source::defaults(sources::dict_of(&T::default())?));
    merged.extract()
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
    merged.extract::<T>()?;
    Ok(merged.settings())
}

/// All that was said, with the name by which each source is known.
#[derive(Debug, Default)]
struct Merged {
    figment: Figment,
    origins: BTreeMap<String, Origin>,
}

impl Merged {
    /// What is said later wins.
    fn merge(&mut self, source: Source) {
        self.origins.insert(source.origin.to_string(), source.origin.clone());
        self.figment = std::mem::take(&mut self.figment).merge(source);
    }

    /// What is said here holds where nobody else says anything.
    fn join(&mut self, source: Source) {
        self.origins.insert(source.origin.to_string(), source.origin.clone());
        self.figment = std::mem::take(&mut self.figment).join(source);
    }

    fn extract<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        self.figment.extract().map_err(|error| complaint::about(&error, &self.figment))
    }

    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        each_leaf(&tree(&self.figment), &mut Vec::new(), &mut |key, value| {
            let said = self.figment.get_metadata(value.tag()).and_then(|origin| self.origins.get(origin.name.as_ref()));
            settings.push(Setting {
                key: key.to_owned(),
                value: secret::shown(key, serde_json::to_value(value).unwrap_or_default()),
                origin: said.cloned().unwrap_or(Origin::Default),
            });
        });
        settings
    }
}

fn merge<T: Default + Serialize>(
    sources: &Sources,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Merged, CliError> {
    let defaults = sources::dict_of(&T::default())?;
    let mut merged = Merged::default();
    if let Some(path) = &sources.file {
        for setting in Source::file(path, sources.file_required)? {
            merged.merge(setting);
        }
    }
    for variable in Source::variables(variables, sources.env_prefix, &defaults) {
        merged.merge(variable);
    }
    merged.merge(Source::flags(&sources.overrides)?);
    merged.join(Source::defaults(defaults));
    Ok(merged)
}

/// Every value by its dotted name, secrets included.
fn raw_settings(merged: &Figment) -> BTreeMap<String, serde_json::Value> {
    let mut settings = BTreeMap::new();
    each_leaf(&tree(merged), &mut Vec::new(), &mut |key, value| {
        settings.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
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
