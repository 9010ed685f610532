#![expect(clippy::disallowed_methods, reason = "tests play the writers that are not durable")]

use std::{fs, io::ErrorKind, path::Path, sync::Barrier, thread};

use tempfile::tempdir;

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_write_replaces_and_leaves_nothing_beside_it() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("record.json");
    write(&path, b"first").unwrap();
    write(&path, b"second").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"second");
    assert_eq!(names(dir.path()), ["record.json"]);
}

#[test]
fn a_new_file_is_never_replaced() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("key");
    write_new_private(&path, b"secret").unwrap();
    assert_eq!(write_new(&path, b"other").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&path).unwrap().unwrap(), b"secret");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(names(dir.path()), ["key"]);
}

#[test]
fn the_next_write_clears_what_a_crash_left() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("record");
    write(&path, b"old").unwrap();
    fs::write(dir.path().join(".record.tmp"), b"half of a longer rec").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"old");
    write(&path, b"new").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"new");
    assert_eq!(names(dir.path()), ["record"]);
}

/// A crash after the link and before the removal of the draft's name leaves one file with two names.
#[test]
fn clearing_a_leftover_does_not_touch_the_published_file() {
    let dir = tempdir().unwrap();
    let (path, tmp) = (dir.path().join("record"), dir.path().join(".record.tmp"));
    write_new(&path, b"published").unwrap();
    fs::hard_link(&path, &tmp).unwrap();
    assert_eq!(write_new(&path, b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&path).unwrap().unwrap(), b"published");
    assert_eq!(names(dir.path()), ["record"]);
}

#[test]
fn writers_to_one_target_take_turns() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 20;
    let dir = tempdir().unwrap();
    let path = dir.path().join("record");
    let start = Barrier::new(WRITERS);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                let text = vec![b'a' + u8::try_from(writer).unwrap(); 10_000 + writer];
                for _ in 0..ROUNDS {
                    write(path, &text).unwrap();
                    let seen = read(path).unwrap().unwrap();
                    let first = seen[0];
                    assert!(seen.iter().all(|byte| *byte == first), "a mix of two writers");
                    assert_eq!(seen.len(), 10_000 + usize::from(first - b'a'), "a torn file");
                }
            });
        }
    });
    assert_eq!(names(dir.path()), ["record"]);
}

#[test]
fn only_one_of_many_creates() {
    const WRITERS: usize = 8;
    let dir = tempdir().unwrap();
    let path = dir.path().join("nonce");
    let start = Barrier::new(WRITERS);
    let created = thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    write_new(path, &[b'0' + u8::try_from(writer).unwrap()]).is_ok()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|created| *created).count()
    });
    assert_eq!(created, 1);
}

#[test]
fn corrupt_is_not_absent() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("record");
    assert!(read(&path).unwrap().is_none());
    fs::write(&path, b"").unwrap();
    assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    fs::write(&path, [0; 512]).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    File::create(&path).unwrap().set_len(READ_BYTES_MAX + 1).unwrap();
    assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(write(&path, b"").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_folder_is_published_by_its_name() {
    let dir = tempdir().unwrap();
    let (scratch, stores) = (dir.path().join("scratch/s-1/cache"), dir.path().join("store/a/b"));
    create_dir_all(&scratch).unwrap();
    create_dir_all(&stores).unwrap();
    create_dir_all(&stores).unwrap();
    fs::write(scratch.join("p_aux"), b"aux").unwrap();
    std::os::unix::fs::symlink("nowhere", scratch.join("link")).unwrap();
    sync_tree(&dir.path().join("scratch")).unwrap();
    let published = stores.join("s-1");
    rename(&dir.path().join("scratch/s-1"), &published).unwrap();
    assert_eq!(fs::read(published.join("cache/p_aux")).unwrap(), b"aux");

    create_dir_all(&scratch).unwrap();
    let error = rename(&dir.path().join("scratch/s-1"), &published).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty, "a published folder is not replaced: {error}");

    remove_dir_all(&published).unwrap();
    remove_dir_all(&published).unwrap();
    remove_file(&dir.path().join("never")).unwrap();
    assert!(!published.exists());
}

#[test]
fn a_copy_is_whole_and_its_digest_known() {
    let dir = tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let bytes: Vec<u8> = (0_u32..700_000).flat_map(u32::to_le_bytes).collect();
    fs::write(&from, &bytes).unwrap();
    let digest = copy_with_sha256(&from, &to).unwrap();
    assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
    assert_eq!(fs::read(&to).unwrap(), bytes);
    assert_eq!(copy_with_sha256(&dir.path().join("never"), &to).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::read(&to).unwrap(), bytes, "a copy that fails leaves the old file");
    assert_eq!(names(dir.path()), ["from", "to"]);
}

#[test]
fn a_lock_has_one_holder() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = lock_exclusive(&path).unwrap();
    let refused = lock_exclusive(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    drop(held);
    let _held = lock_exclusive(&path).unwrap();
}
