//! `config import venus-worker.toml`: another worker's configuration as ours.
//!
//! Nothing of it is dropped without a word: every key becomes one of ours, with the line that it comes from, or is
//! named in a comment that says what to do instead. What venus-worker itself would ignore (a misspelt table) is read
//! as what it must have meant, and that is said too.

use std::path::Path;

use host::{
    config,
    exit::{CliError, Exit},
};

use self::{
    draft::Draft,
    source::{Setting, settings},
};
use crate::config::Config;

mod draft;
mod rules;
mod source;

/// Tables and keys that venus-worker, or damocles-worker after it, has at the top of its file.
const TABLES: [&str; 14] = [
    "attached",
    "limit",
    "local_pieces_dir",
    "metrics",
    "processors",
    "remote",
    "sealer_rpc",
    "sealing",
    "sealing_thread",
    "sealing_threads",
    "sector_manager",
    "store",
    "stores",
    "worker",
];

/// A configuration that was taken over.
#[derive(Debug)]
pub(crate) struct Imported {
    /// `agent.toml`.
    pub(crate) text: String,
    /// What a person must know of it, a line each.
    pub(crate) notes: Vec<String>,
}

/// Reads the file and makes an `agent.toml` of it.
pub(crate) fn read(path: &Path) -> Result<Imported, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::new(Exit::NotFound, format!("read {}", path.display())).because(error))?;
    import(path, &text)
}

/// Makes an `agent.toml` of the text of the file at `path`.
pub(crate) fn import(path: &Path, text: &str) -> Result<Imported, CliError> {
    let mut draft = Draft::default();
    for mut setting in settings(path, text)? {
        if let Some((was, meant)) = misspelt(&mut setting) {
            draft.misspelt(setting.table_line, was, meant);
        }
        rules::apply(&mut draft, &setting);
    }
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let Imported { text, notes } = draft.render(&name);
    // What is handed out must be taken.
    config::parse::<Config>(Path::new("agent.toml"), &text)
        .map_err(|error| CliError::new(Exit::Data, format!("import {}", path.display())).because(error))?;
    Ok(Imported { text, notes })
}

/// A table that venus-worker does not have, and would ignore, is taken for the one that it must be.
fn misspelt(setting: &mut Setting) -> Option<(String, &'static str)> {
    let first = setting.path.first_mut()?;
    if TABLES.contains(&first.as_str()) {
        return None;
    }
    let cut = TABLES.iter().find(|table| first.len() > 3 && table.ends_with(first.as_str()));
    let near = || {
        TABLES
            .iter()
            .map(|table| (strsim::damerau_levenshtein(first, table), table))
            .filter(|(slips, _)| *slips <= first.chars().count() / 3)
            .min()
            .map(|(_, table)| table)
    };
    let meant = *cut.or_else(near)?;
    let was = std::mem::replace(first, meant.to_owned());
    Some((was, meant))
}

#[cfg(test)]
mod tests;
