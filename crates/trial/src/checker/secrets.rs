//! I20: texts that were given as secrets, and are somewhere all the same.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use super::{Evidence, Found, Spot, Violation, load::BadEvidence};
use crate::evidence::{CHAIN, QUEUE, RUN, STORES};

/// A secret in a file.
#[derive(Debug, Clone)]
pub(super) struct Leak {
    file: String,
    line: u64,
}

/// Searches every file of the evidence. Of `run.jsonl` the first line is left out, which says what the secrets are.
pub(super) fn search(folder: &Path, canaries: &[String]) -> Result<Vec<Leak>, BadEvidence> {
    let mut leaks = Vec::new();
    if !canaries.is_empty() {
        search_in(folder, folder, canaries, &mut leaks)?;
    }
    Ok(leaks)
}

fn search_in(path: &Path, root: &Path, canaries: &[String], leaks: &mut Vec<Leak>) -> Result<(), BadEvidence> {
    let failed = |source| BadEvidence::Search { path: path.display().to_string(), source };
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            search_in(&entry.map_err(failed)?.path(), root, canaries, leaks)?;
        }
        return Ok(());
    }
    let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let first = if file == RUN { 1 } else { 0 };
    lines_with(path, canaries, first).map_err(failed)?.into_iter().for_each(|line| {
        leaks.push(Leak { file: file.clone(), line });
    });
    Ok(())
}

fn lines_with(path: &Path, canaries: &[String], after: u64) -> io::Result<Vec<u64>> {
    let (mut reader, mut text, mut number, mut found) = (BufReader::new(File::open(path)?), Vec::new(), 0, Vec::new());
    while reader.read_until(b'\n', &mut text)? > 0 {
        number += 1;
        let holds = |canary: &String| text.windows(canary.len().max(1)).any(|part| part == canary.as_bytes());
        if number > after && canaries.iter().any(holds) {
            found.push(number);
        }
        text.clear();
    }
    Ok(found)
}

/// A secret stands in a message, a record, or what a process printed. Command lines and core dumps are not evidence:
/// those are looked at while processes run.
pub(super) fn i20(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I20");
    for Leak { file, line } in &evidence.leaks {
        let known = [QUEUE, CHAIN, STORES, RUN].into_iter().find(|known| known == file);
        let spot = known.map(|file| Spot { file, line: *line });
        found.note(format!("{file}:{line}"), spot, "a text that was given as a secret");
    }
    found.all
}
