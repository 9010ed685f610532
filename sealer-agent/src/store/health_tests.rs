//! Set aside, and back.

use std::{fs, io};

use super::*;
use crate::store::{identity, paths};

const STORE: StoreId = StoreId(uuid::Uuid::nil());

fn error(kind: io::ErrorKind) -> StoreError {
    StoreError::io("write", Path::new("/s"))(kind.into())
}

fn ok() -> Look {
    Look::without_usage(Condition::Ok)
}

#[test]
fn what_only_a_write_shows_is_believed_for_a_while() {
    let health = Health::new(Duration::from_secs(600));
    let path = Path::new("/s");
    health.note(STORE, path, ok(), Entry::default());
    health.blame(STORE, path, &error(io::ErrorKind::StorageFull));
    health.note(STORE, path, ok(), Entry::default());
    assert_eq!(health.condition(STORE), Condition::Full);

    let health = Health::new(Duration::ZERO);
    health.blame(STORE, path, &error(io::ErrorKind::StorageFull));
    assert_eq!(health.condition(STORE), Condition::Ok, "the while is over");
}

#[test]
fn what_a_look_shows_is_over_with_the_next_look() {
    let health = Health::new(Duration::from_secs(600));
    let path = Path::new("/s");
    let away = StoreError::Away { path: path.to_owned(), store: STORE, found: None };
    for error in [away, error(io::ErrorKind::ReadOnlyFilesystem)] {
        health.blame(STORE, path, &error);
        assert!(!health.condition(STORE).is_ok());
        health.note(STORE, path, ok(), Entry::default());
        assert_eq!(health.condition(STORE), Condition::Ok);
    }
    health.blame(STORE, path, &StoreError::Locked { path: path.to_owned() });
    assert_eq!(health.condition(STORE), Condition::Ok, "a sector's trouble is not the store's");
}

/// A file whose reader waits as for a server that is gone.
fn stuck(store: &Path) {
    fs::create_dir_all(store).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = store.join(paths::IDENTITY);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[tokio::test]
async fn work_on_a_disk_that_is_silent_ends_in_time_and_sets_its_store_aside() {
    let dir = tempfile::tempdir().unwrap();
    stuck(dir.path());
    let health = Health::new(Duration::from_millis(200));
    let at = dir.path().to_owned();
    let ended = health.within(STORE, dir.path(), move || identity::require(&at, STORE)).await.unwrap_err();
    assert!(matches!(ended, StoreError::Silent { .. }), "{ended}");
    assert_eq!(health.condition(STORE).name(), "hanging");
    // The thread ends with the test.
    drop(fs::OpenOptions::new().write(true).open(dir.path().join(paths::IDENTITY)).unwrap());
}

#[tokio::test]
async fn a_watched_store_hangs_goes_and_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kept");
    let store = identity::init(&path, true, Timestamp(1)).unwrap().store;
    let health = Health::new(Duration::from_millis(200));
    let watch = Watch {
        health: health.clone(),
        home: dir.path().to_owned(),
        store,
        path: path.clone(),
        persistent: true,
        keep_free: 0,
        every: Duration::from_millis(20),
    };
    let tasks = host::tasks::Tasks::new();
    tasks.spawn("watch", watch.run(tasks.token()));
    let becomes = async |name: &str| {
        streams::testing::wait_for(Duration::from_secs(20), async || {
            let condition = health.condition(store);
            if condition.name() == name && health.seen(store).is_some() {
                Ok(())
            } else {
                Err(format!("{condition:?}"))
            }
        })
        .await;
    };
    becomes("ok").await;
    let away = dir.path().join("away");
    host::durable::rename(&path, &away).unwrap();
    becomes("missing").await;
    stuck(&path);
    becomes("hanging").await;
    // Its server answers: with nothing, and then there is the disk again.
    let fifo = path.join(paths::IDENTITY);
    drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    host::durable::remove_dir_all(&path).unwrap();
    host::durable::rename(&away, &path).unwrap();
    becomes("ok").await;
    tasks.token().cancel();
}
