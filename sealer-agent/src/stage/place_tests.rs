//! A store that fails does not keep sectors from the others.

use std::{fs, path::Path};

use host::durable;
use streams::id::Timestamp;

use super::*;
use crate::sample::allocated;
use crate::store::{identity, paths};

fn store(dir: &Path) -> LocalStore {
    let identity = identity::init(dir, false, Timestamp(1)).unwrap();
    LocalStore::new(identity.store, dir.to_owned())
}

#[test]
fn stores_that_fail_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let [away, unreadable, good] = ["away", "unreadable", "good"].map(|name| store(&dir.path().join(name)));
    fs::remove_file(away.path.join(paths::IDENTITY)).unwrap();
    unreadable.reserve(&allocated(1), 0, now()).unwrap();
    durable::write(&unreadable.files(allocated(1).id).manifest(), b"{}").unwrap();

    let id = good.id;
    let mut stores = Stores { local: vec![away, unreadable, good], persistent: vec![] };
    assert_eq!(find(&stores, &allocated(2), 0).unwrap(), Ok(id));
    stores.local.pop();
    let why_not = find(&stores, &allocated(2), 0).unwrap().unwrap_err();
    assert!(why_not.contains("unreadable"), "{why_not}");
}
