//! On which line of a TOML file each key stands.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The line of every key and table, by path. Empty for a text that is no TOML: its reader says so.
pub(super) fn of(text: &str) -> BTreeMap<Vec<String>, usize> {
    let mut lines = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        note(table.get_ref(), text, &mut Vec::new(), &mut lines);
    }
    lines
}

/// The line of a place in a text, from 1.
pub(super) fn at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

fn note(table: &DeTable<'_>, text: &str, path: &mut Vec<String>, lines: &mut BTreeMap<Vec<String>, usize>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        lines.insert(path.clone(), at(text, key.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            note(inner, text, path, lines);
        }
        path.pop();
    }
}
