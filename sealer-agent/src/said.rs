//! What was said already: a task that returns every few seconds must not fill the log with one reason.

use std::{collections::HashMap, sync::Mutex};

/// Things remembered; past it, all is forgotten and said once more.
const REMEMBERED_MAX: usize = 4096;

/// Remembers the last reason by thing.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: Mutex<HashMap<String, String>>,
}

impl Said {
    /// Whether `reason` is not what was said about `thing` last.
    pub(crate) fn is_new(&self, thing: &str, reason: &str) -> bool {
        let Ok(mut last) = self.last.lock() else { return true };
        if last.len() >= REMEMBERED_MAX {
            last.clear();
        }
        last.insert(thing.to_owned(), reason.to_owned()).as_deref() != Some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_new_until_it_was_said() {
        let said = Said::default();
        assert!(said.is_new("a", "no room"));
        assert!(!said.is_new("a", "no room"));
        assert!(said.is_new("b", "no room"));
        assert!(said.is_new("a", "busy"));
        assert!(said.is_new("a", "no room"));
    }
}
