//! Reads the evidence, once, and keeps of it what is judged.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{
    Spot,
    chain::Chain,
    nonces::address,
    record::{Claim, Event, Manifest, OutboxEntry, Sector, StoreRecord, TaskResult},
    run::Run,
    secrets,
};
use crate::evidence::{
    BadLine, Body, CHAIN, FileSeen, Line, QUEUE, QueueLine, RUN, STORES, StoreLine, Stored, read_lines,
};

/// Evidence that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadEvidence {
    /// A line.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// A file that is searched for secrets.
    #[error("search {path} for secrets")]
    Search {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing was recorded.
    #[error("{folder} has neither {QUEUE} nor {RUN}: it is no evidence")]
    Empty {
        /// The folder.
        folder: String,
    },
}

/// A value in the queue, as it was written once.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) spot: Spot,
    /// When the server stored it.
    pub(super) us: u64,
    /// Which life of its stream it is in.
    pub(super) life: u32,
    /// Whether an earlier life had it, and a restore brought it back.
    pub(super) again: bool,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) const fn ms(&self) -> u64 {
        self.us / 1000
    }
}

/// A message to a work queue, as it was heard.
#[derive(Debug, Clone)]
pub(super) struct Heard<T> {
    pub(super) spot: Spot,
    pub(super) at: u64,
    pub(super) value: T,
}

/// A sector's files in a store.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) spot: Spot,
    pub(super) store: String,
    pub(super) persistent: bool,
    pub(super) manifest: Option<Manifest>,
    pub(super) files: Vec<FileSeen>,
}

/// Sequences that nobody saw.
#[derive(Debug, Clone)]
pub(super) struct Hole {
    pub(super) spot: Spot,
    pub(super) stream: String,
    /// When a recorder found that it had missed something; none when something could not be read.
    pub(super) missed_at: Option<u64>,
    pub(super) words: String,
}

/// Everything a run left behind.
#[derive(Debug, Default)]
pub struct Evidence {
    records: u64,
    missing: Vec<&'static str>,
    pub(super) run: Run,
    pub(super) chain: Chain,
    pub(super) sectors: BTreeMap<String, Vec<At<Sector>>>,
    pub(super) numbers: BTreeMap<String, Vec<At<()>>>,
    /// By sector and stage.
    pub(super) claims: BTreeMap<(String, String), Vec<At<Claim>>>,
    /// By sender and nonce.
    pub(super) outbox: BTreeMap<(String, u64), Vec<At<OutboxEntry>>>,
    pub(super) events: BTreeMap<String, Vec<At<Event>>>,
    pub(super) stores: Vec<(String, At<StoreRecord>)>,
    /// Heads of the chain as the follower saw them: epoch, and when.
    pub(super) heads: Vec<(i64, u64)>,
    pub(super) results: Vec<Heard<TaskResult>>,
    pub(super) files: BTreeMap<String, Vec<Files>>,
    pub(super) holes: Vec<Hole>,
    /// Streams that a life of ended, with the life.
    pub(super) ended: HashSet<(String, u32)>,
    pub(super) leaks: Vec<secrets::Leak>,
    reader: Reader,
}

/// What is only needed while reading.
#[derive(Debug, Default)]
struct Reader {
    lives: HashMap<String, u32>,
    known: HashSet<(String, u64, u64)>,
}

impl Evidence {
    /// Reads a folder.
    pub fn load(folder: &Path) -> Result<Self, BadEvidence> {
        let mut this = Self::default();
        let lines = [
            (RUN, read_lines(folder, RUN, |line| this.run.take(line))?),
            (QUEUE, read_lines(folder, QUEUE, |line| this.take(line))?),
            (CHAIN, read_lines(folder, CHAIN, |line| this.chain.take(line))?),
            (STORES, read_lines(folder, STORES, |line| this.take_files(line))?),
        ];
        this.missing = lines.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
        this.records = lines.iter().map(|(_, count)| count).sum();
        if this.missing.contains(&RUN) && this.missing.contains(&QUEUE) {
            return Err(BadEvidence::Empty { folder: folder.display().to_string() });
        }
        this.leaks = secrets::search(folder, &this.run.settings.canaries)?;
        this.reader = Reader::default();
        Ok(this)
    }

    /// How many lines there are.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Files that are not there, or empty.
    #[must_use]
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    pub(super) fn has(&self, file: &str) -> bool {
        !self.missing.contains(&file)
    }

    fn take(&mut self, Line { number: line, value }: Line<QueueLine>) {
        let spot = Spot { file: QUEUE, line };
        match value {
            QueueLine::Begins { stream, .. } => {
                let life = self.reader.lives.entry(stream.clone()).or_default();
                if *life > 0 {
                    self.ended.insert((stream, *life));
                }
                *life += 1;
            }
            QueueLine::Gone { .. } => {}
            QueueLine::Missed { at, stream, from, to } => {
                let words = format!("sequences {from} to {to} of {stream} were gone before they were recorded");
                self.holes.push(Hole { spot, stream, missed_at: Some(at), words });
            }
            QueueLine::Stored(stored) => self.stored(spot, stored),
            QueueLine::Published { at, subject, body, .. } => self.heard(spot, at, &subject, &body),
        }
    }

    fn stored(&mut self, spot: Spot, stored: Stored) {
        let Stored { at, stored_us: us, stream, seq, subject, headers, body } = stored;
        let life = self.reader.lives.get(&stream).copied().unwrap_or(0);
        let again = !self.reader.known.insert((stream.clone(), seq, us));
        let is_delete = headers.contains_key("KV-Operation") || headers.contains_key("Nats-Marker-Reason");
        let key = subject.strip_prefix("$KV.").and_then(|rest| rest.split_once('.')).map(|(_, key)| key);
        match (stream.as_str(), key) {
            ("RESULTS", _) => return self.heard(spot, at, &subject, &body),
            // A deleted key holds nothing, and that a key was deleted is judged where keys must stay.
            (_, Some(_)) if is_delete => return,
            _ => {}
        }
        let note = Note { spot, us, life, again, body };
        match (stream.as_str(), key) {
            ("KV_SECTORS", Some(key)) => {
                note.put(&mut self.holes, &stream, self.sectors.entry(sector(key)).or_default())
            }
            ("KV_NUMBERS", Some(key)) => {
                let given = At { spot, us, life, again, value: () };
                self.numbers.entry(sector(key)).or_default().push(given);
            }
            ("KV_CLAIMS", Some(key)) => {
                let (of, stage) = key.rsplit_once('.').unwrap_or((key, ""));
                let claims = self.claims.entry((sector(of), stage.to_owned())).or_default();
                note.put(&mut self.holes, &stream, claims);
            }
            ("KV_MESSAGES", Some(key)) => {
                let (sender, nonce) = key.rsplit_once('.').unwrap_or((key, ""));
                let entry = self.outbox.entry((address(sender), nonce.parse().unwrap_or(u64::MAX))).or_default();
                note.put(&mut self.holes, &stream, entry);
            }
            ("KV_STORES", Some(key)) => {
                let mut seen = Vec::new();
                note.put(&mut self.holes, &stream, &mut seen);
                self.stores.extend(seen.into_iter().map(|store| (key.to_owned(), store)));
            }
            ("KV_CHAIN", Some("head")) => {
                let epoch = note.body.json().and_then(|json| json.get("epoch")).and_then(serde_json::Value::as_i64);
                self.heads.extend(epoch.map(|epoch| (epoch, us / 1000)));
            }
            ("EVENTS", _) => {
                let mut seen = Vec::<At<Event>>::new();
                note.put(&mut self.holes, &stream, &mut seen);
                for event in seen {
                    self.events.entry(event.value.sector.clone()).or_default().push(event);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, spot: Spot, at: u64, subject: &str, body: &Body) {
        if subject.starts_with("res.")
            && let Some(value) = body.json().and_then(|json| serde_json::from_value(json.clone()).ok())
        {
            self.results.push(Heard { spot, at, value });
        }
    }

    fn take_files(&mut self, Line { number: line, value }: Line<StoreLine>) {
        let spot = Spot { file: STORES, line };
        if let StoreLine::Files { store, persistent, sector, manifest, files } = value {
            let manifest = manifest.and_then(|json| serde_json::from_value(json).ok());
            self.files.entry(sector).or_default().push(Files { spot, store, persistent, manifest, files });
        }
    }
}

struct Note {
    spot: Spot,
    us: u64,
    life: u32,
    again: bool,
    body: Body,
}

impl Note {
    /// Keeps a value, or says that it cannot be read: what is not understood is not judged, and that is a hole.
    fn put<T: DeserializeOwned>(self, holes: &mut Vec<Hole>, stream: &str, into: &mut Vec<At<T>>) {
        let Self { spot, us, life, again, body } = self;
        let read = match body {
            Body::Json(json) => serde_json::from_value(json).map_err(|error| error.to_string()),
            Body::Base64(_) => Err("it is not JSON".to_owned()),
        };
        match read {
            Ok(value) => into.push(At { spot, us, life, again, value }),
            Err(why) => {
                let words = format!("a message of {stream} cannot be read: {why}");
                holes.push(Hole { spot, stream: stream.to_owned(), missed_at: None, words });
            }
        }
    }
}

/// `f01000.17` as people write it.
fn sector(key: &str) -> String {
    key.replacen('.', "/", 1)
}
