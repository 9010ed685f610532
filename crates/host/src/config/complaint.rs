//! What is wrong with a setting, in the words of whoever wrote it.

use figment::{Error, Figment, error::Kind, value::Dict};

use super::{each_leaf, secret, tree};
use crate::exit::{CliError, Exit};

/// How unlike a known key an unknown one may be and still be taken for a slip: edits for each three letters.
const LETTERS_PER_SLIP: usize = 3;

pub(super) fn about(error: &Error, merged: &Figment) -> CliError {
    let origin = error.metadata.as_ref().map_or("the configuration", |origin| origin.name.as_ref());
    let key = error.path.join(".");
    let Kind::UnknownField(_, known) = &error.kind else {
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        let complaint = secret::without_passwords(&error.kind.to_string());
        return CliError::new(Exit::Config, format!("{origin}: {key}{complaint}"));
    };
    let all = tree(merged);
    let rest = only_child(&all, &error.path);
    let complaint = format!("unknown key `{key}{rest}` in {origin}");
    let tables = error.path.split_last().map_or(&[][..], |(_, tables)| tables);
    match meant(&error.path, known).map(|meant| format!("{meant}{rest}")).or_else(|| elsewhere(&error.path, &all)) {
        Some(meant) => CliError::new(Exit::Config, format!("{complaint}: did you mean `{meant}`?")),
        None if tables.is_empty() => CliError::new(Exit::Config, complaint),
        None => CliError::new(Exit::Config, format!("{complaint}: `{}` has no such key", tables.join("."))),
    }
    .hint(format!("known here: {}", known.join(", ")))
}

/// The known key beside the unknown one that is most like it.
fn meant(path: &[String], known: &[&str]) -> Option<String> {
    let (unknown, tables) = path.split_last()?;
    let slips_max = unknown.chars().count() / LETTERS_PER_SLIP + 1;
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), *name))
        .filter(|(slips, _)| *slips <= slips_max)
        .min()?
        .1;
    Some(tables.iter().map(String::as_str).chain([nearest]).collect::<Vec<_>>().join("."))
}

/// The same key in another table.
fn elsewhere(path: &[String], all: &Dict) -> Option<String> {
    let (own, unknown) = (path.join("."), path.last()?);
    let mut found = None;
    each_leaf(all, &mut Vec::new(), &mut |key, _| {
        if key != own && key.rsplit('.').next() == Some(unknown) {
            found.get_or_insert_with(|| key.to_owned());
        }
    });
    found
}

/// `.gpu` if the unknown key is a table that holds only `gpu`: then that is the key that the person set.
fn only_child(all: &Dict, path: &[String]) -> String {
    let mut inside = Some(all);
    for table in path {
        inside = inside.and_then(|dict| dict.get(table)?.as_dict());
    }
    match inside.map(|dict| dict.keys().collect::<Vec<_>>()).as_deref() {
        Some([child]) => format!(".{child}"),
        _ => String::new(),
    }
}
