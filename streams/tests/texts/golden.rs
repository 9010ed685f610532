//! Every text against its golden file, byte for byte.
//!
//! A file that changes is a format that changes: raise the text's `VERSION` and say how old ones are read. To write
//! the files anew: `SEALSTREAM_WRITE_GOLDEN=1 cargo test -p streams --test texts`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use streams::{
    attach::{AttachLookRequest, AttachRequest},
    control::*,
    duty::DutyRequest,
    inventory::InventoryRequest,
    lost::LostStore,
    message::*,
    records::*,
    sector::SectorRecord,
    text::{Text, decode, encode},
};

use crate::samples;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn every_text_is_written_as_its_golden_file_says() {
    let write = std::env::var_os("SEALSTREAM_WRITE_GOLDEN").is_some();
    for (name, bytes) in samples::all() {
        let path = folder().join(format!("{name}.json"));
        if write {
            write_golden(&path, &bytes);
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let (golden, written) = (String::from_utf8(golden).unwrap(), String::from_utf8(bytes).unwrap());
        assert_eq!(written, golden, "{name} is not written as {} says", path.display());
    }
}

#[expect(clippy::disallowed_methods, reason = "a golden file is written by a person's command, and lands in git")]
fn write_golden(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn no_golden_file_is_left_over() {
    let samples: BTreeSet<String> = samples::all().into_iter().map(|(name, _)| format!("{name}.json")).collect();
    let files: BTreeSet<String> =
        fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, samples);
}

/// Reads a golden file as its type and writes it again: nothing is lost on the way. Then reads it with another version.
fn check<T: Text>() {
    let mut found = false;
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.split('.').next() != Some(T::KIND) {
            continue;
        }
        found = true;
        let bytes = fs::read(&path).unwrap();
        let text: T =
            decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}: {:?}", std::error::Error::source(&error)));
        assert_eq!(encode(&text).unwrap(), bytes, "{name}");
        refuses_other_versions::<T>(&bytes);
    }
    assert!(found, "{} has no golden file", T::KIND);
}

fn refuses_other_versions<T: Text>(bytes: &[u8]) {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).unwrap();
    let other = T::VERSION + 7;
    object.insert("v".to_owned(), other.into());
    let words = decode::<T>(&serde_json::to_vec(&object).unwrap()).err().map(|error| error.to_string()).unwrap();
    assert!(words.contains(T::KIND), "{words}");
    assert!(
        words.contains(&format!("version {other}")) && words.contains(&format!("version {}", T::VERSION)),
        "{words}"
    );
    object.remove("v");
    let words = decode::<T>(&serde_json::to_vec(&object).unwrap()).err().map(|error| error.to_string()).unwrap();
    assert!(words.contains("version 0"), "{words}");
}

macro_rules! texts {
    ($($text:ty),* $(,)?) => {
        fn kinds() -> BTreeSet<&'static str> {
            BTreeSet::from([$(<$text as Text>::KIND),*])
        }

        #[test]
        fn every_golden_file_is_read_back_and_other_versions_are_refused() {
            $(check::<$text>();)*
        }
    };
}

texts!(
    Task,
    TaskResult,
    PostTask,
    PostResult,
    SectorEvent,
    SectorRecord,
    Claim,
    ClusterRecord,
    NumberGiven,
    AgentRecord,
    StoreRecord,
    ChainHead,
    DeadlineNow,
    OutboxEntry,
    PostRecord,
    LeaseHeld,
    SectorLock,
    AttachLookRequest,
    AttachRequest,
    TicketRequest,
    InfoRequest,
    SubmitRequest,
    CreateMinerRequest,
    UnsealRequest,
    RetryRequest,
    AbortRequest,
    StoreLostRequest,
    StoreFoundRequest,
    LostStore,
    InventoryRequest,
    DutyRequest,
);

#[test]
fn no_text_is_without_a_golden_file() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut written = BTreeSet::new();
    for file in ["message.rs", "records.rs", "records/store.rs", "sector.rs", "control.rs"] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        written.extend(text.lines().filter_map(kind_in).map(|kind| format!("{file}: {kind}")));
    }
    let checked = |line: &String| kinds().contains(line.split(": ").nth(1).unwrap());
    let missing: Vec<&String> = written.iter().filter(|line| !checked(line)).collect();
    assert!(!written.is_empty());
    assert!(missing.is_empty(), "add a sample and a golden file for {missing:?}");
}

/// The kind that a line of source declares: `const KIND: … = "task";`, or `} "ticket" -> Drawn` of a request.
fn kind_in(line: &str) -> Option<String> {
    let quoted = line.split('"').nth(1);
    if line.contains("const KIND: &'static str = \"") {
        return quoted.map(str::to_owned);
    }
    let is_request = line.trim_start().starts_with("} \"") && line.contains("\" -> ");
    if is_request { quoted.map(|verb| format!("ctl-{verb}")) } else { None }
}

#[test]
fn a_malformed_text_is_an_error_that_names_its_kind() {
    for bad in
        [&b"not json"[..], b"[]", b"{\"v\":1}", b"{\"v\":1,\"sector\":\"f01000/17\",\"stage\":\"pc2\",\"more\":1}"]
    {
        let error = decode::<Task>(bad).unwrap_err();
        assert!(error.to_string().contains("task"), "{error}");
    }
}
