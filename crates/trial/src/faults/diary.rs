//! What the suite did, written down for the checker: `run.jsonl` of the evidence.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use host::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use streams::id::SectorId;

use super::{inject::Hit, kind::Fault, layout::Pace, program::End};

/// The file within the folder of evidence.
const FILE: &str = "run.jsonl";
/// The services' default, for a run at default settings.
const ACK_WAIT_MS: u128 = 60_000;

/// The file. A line is handed to the system whole, so that a run that is killed leaves what it knew.
#[derive(Debug)]
pub(super) struct Diary {
    file: Mutex<File>,
    faults: AtomicU64,
}

impl Diary {
    /// Begins the diary of a run.
    pub(super) fn begin(folder: &Path, name: &str, pace: &Pace) -> anyhow::Result<Self> {
        host::durable::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let path = folder.join(FILE);
        let file = File::options().create(true).append(true).open(&path);
        let this = Self {
            file: Mutex::new(file.with_context(|| format!("open {}", path.display()))?),
            faults: AtomicU64::new(0),
        };
        let settings = json!({
            "block_delay_ms": pace.epoch.as_millis(),
            "ack_wait_ms": pace.ack_wait.map_or(ACK_WAIT_MS, |wait| wait.as_millis()),
        });
        this.note(json!({ "is": "began", "name": name, "settings": settings }));
        Ok(this)
    }

    /// Writes a line, with its time.
    fn note(&self, mut line: Value) {
        if let Some(line) = line.as_object_mut() {
            line.insert("at".to_owned(), SystemClock.now_unix_ms().into());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!("write the diary: {error}");
        }
    }

    pub(super) fn started(&self, name: &str, pid: u32) {
        let role = match name.split('-').next() {
            Some("coordinator") => "coordinator",
            Some("poster") => "poster",
            Some("nats") => "nats",
            Some("devnet") => "chain",
            _ => "agent",
        };
        self.note(json!({ "is": "started", "name": name, "role": role, "pid": pid }));
    }

    pub(super) fn ended(&self, name: &str, pid: u32, end: &End, is_told: bool) {
        let how = match end {
            End::Killed(_) => "killed",
            End::Exited(_) if is_told => "stopped",
            End::Exited(_) => "exited",
        };
        self.note(json!({ "is": "ended", "name": name, "pid": pid, "how": how }));
    }

    /// A fault begins: from now on it may excuse something. Returns its number.
    pub(super) fn begins(&self, fault: &Fault) -> u64 {
        let id = self.faults.fetch_add(1, Ordering::Relaxed);
        let excuses = fault.excuses();
        self.note(
            json!({ "is": "fault", "id": id, "kind": fault.word(), "target": "", "held": "", "excuses": excuses }),
        );
        id
    }

    /// A fault is over; what it hit has a name by now.
    pub(super) fn over(&self, id: u64, hit: Option<&Hit>) {
        if let Some(hit) = hit {
            for sector in &hit.poisoned {
                self.note(json!({ "is": "poisoned", "sector": sector.to_string(), "park": hit.park }));
            }
            for (sector, order) in &hit.ordered {
                self.note(json!({ "is": "ordered", "sector": sector.to_string(), "order": order }));
            }
        }
        self.note(json!({ "is": "fault-over", "id": id }));
    }

    pub(super) fn submitted(&self, sectors: &[SectorId]) {
        for sector in sectors {
            self.note(json!({ "is": "submitted", "sector": sector.to_string() }));
        }
    }

    /// The run is over.
    pub(super) fn end(&self, settled: bool) {
        self.note(json!({ "is": "over", "settled": settled }));
    }
}
