//! A store that fails does not keep sectors from the others.

use std::{fs, path::Path};

use host::durable;
use streams::id::Timestamp;

use super::*;
use crate::sample::allocated;
use crate::store::{health::Health, identity, paths};

fn store(dir: &Path) -> LocalStore {
    let identity = identity::init(dir, false, Timestamp(1)).unwrap();
    LocalStore::new(identity.store, dir.to_owned())
}

#[tokio::test]
async fn stores_that_fail_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let [away, unreadable, good] = ["away", "unreadable", "good"].map(|name| store(&dir.path().join(name)));
    fs::remove_file(away.path.join(paths::IDENTITY)).unwrap();
    durable::write(&paths::sectors(&unreadable.path), b"no folder").unwrap();

    let id = good.id;
    let mut stores = Stores { local: vec![away, unreadable, good], ..Stores::default() };
    assert_eq!(find(&stores, &allocated(2), 0).await.unwrap(), Ok(id));
    stores.local.pop();
    let why_not = find(&stores, &allocated(2), 0).await.unwrap().unwrap_err();
    assert!(why_not.contains("unreadable"), "{why_not}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_keeps_no_sector_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let [hung, good] = ["hung", "good"].map(|name| store(&dir.path().join(name)));
    let identity = hung.path.join(paths::IDENTITY);
    fs::remove_file(&identity).unwrap();
    // Opening it for reading waits, as on a mount whose server is gone.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &identity, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let id = good.id;
    let health = Health::new(std::time::Duration::from_millis(300));
    let stores = Stores { local: vec![hung.clone(), good], health, ..Stores::default() };
    assert_eq!(find(&stores, &allocated(2), 0).await.unwrap(), Ok(id));
    assert_eq!(stores.health.condition(hung.id).name(), "hanging");
    // The thread ends with the test.
    drop(fs::OpenOptions::new().write(true).open(identity).unwrap());
}
