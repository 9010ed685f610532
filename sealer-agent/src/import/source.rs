//! A TOML file as a list of its settings, each with its line.

use std::{fmt::Write as _, path::Path};

use host::exit::{CliError, Exit};
use toml::de::{DeTable, DeValue};

/// One value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The line of the table it is in.
    pub(super) table_line: usize,
    /// Its tables and its key, without the indices of arrays.
    pub(super) path: Vec<String>,
    /// The same as a person would write it: `store[0].location`.
    pub(super) shown: String,
    /// Its value; none for a table that is empty.
    pub(super) value: Option<toml::Value>,
}

impl Setting {
    /// Its path, to be matched.
    pub(super) fn key(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// `limit.pc2 = 1`, or `[processors.c2.cgroup]`.
    pub(super) fn said(&self) -> String {
        match &self.value {
            Some(value) => format!("{} = {value}", self.shown),
            None => format!("[{}]", self.shown),
        }
    }

    /// The same with its line.
    pub(super) fn quoted(&self) -> String {
        format!("line {}: {}", self.line, self.said())
    }

    /// As text.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_ref()?.as_str()
    }

    /// As a number of things.
    pub(super) fn count(&self) -> Option<u32> {
        u32::try_from(self.value.as_ref()?.as_integer()?).ok()
    }

    /// As a list of texts.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        self.value.as_ref()?.as_array()?.iter().map(toml::Value::as_str).collect()
    }

    /// As yes or no.
    pub(super) fn flag(&self) -> Option<bool> {
        self.value.as_ref()?.as_bool()
    }
}

/// Every setting of the text, in the order of the lines.
pub(super) fn settings(path: &Path, text: &str) -> Result<Vec<Setting>, CliError> {
    let bad = |error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        CliError::new(Exit::Data, format!("{}, line {line}: {}", path.display(), error.message()))
    };
    let spans = DeTable::parse(text).map_err(bad)?;
    let values: toml::Table = text.parse().map_err(bad)?;
    let mut walk = Walk { text, found: Vec::new() };
    walk.table(spans.get_ref(), &values, &At { path: Vec::new(), shown: String::new(), line: 1 });
    walk.found.sort_by_key(|setting| setting.line);
    Ok(walk.found)
}

struct Walk<'a> {
    text: &'a str,
    found: Vec<Setting>,
}

/// Where the walk is.
struct At {
    path: Vec<String>,
    shown: String,
    line: usize,
}

impl Walk<'_> {
    fn table(&mut self, spans: &DeTable<'_>, values: &toml::Table, at: &At) {
        for (key, span) in spans {
            let name = key.get_ref().to_string();
            let Some(value) = values.get(&name) else { continue };
            let line = line_of(self.text, key.span().start);
            let shown = if at.shown.is_empty() { name.clone() } else { format!("{}.{name}", at.shown) };
            let path = at.path.iter().cloned().chain([name]).collect();
            self.value(span.get_ref(), value, &At { path, shown, line }, at.line);
        }
    }

    fn value(&mut self, span: &DeValue<'_>, value: &toml::Value, at: &At, table_line: usize) {
        match (span, value) {
            (DeValue::Table(spans), toml::Value::Table(values)) if !values.is_empty() => {
                self.table(spans, values, at);
            }
            (DeValue::Table(_), toml::Value::Table(_)) => self.found.push(Setting {
                line: at.line,
                table_line: at.line,
                path: at.path.clone(),
                shown: at.shown.clone(),
                value: None,
            }),
            (DeValue::Array(spans), toml::Value::Array(values)) if values.iter().any(toml::Value::is_table) => {
                for (index, (span, value)) in spans.iter().zip(values).enumerate() {
                    let mut shown = at.shown.clone();
                    let _ = write!(shown, "[{index}]");
                    let line = line_of(self.text, span.span().start);
                    self.value(span.get_ref(), value, &At { path: at.path.clone(), shown, line }, line);
                }
            }
            (_, value) => self.found.push(Setting {
                line: at.line,
                table_line,
                path: at.path.clone(),
                shown: at.shown.clone(),
                value: Some(value.clone()),
            }),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}
