//! What the suite did, written down for the checker: `run.jsonl` of the evidence.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use host::clock::{Clock as _, SystemClock};
use streams::id::SectorId;

use super::{inject::Hit, kind::Fault, layout::Pace, program::End};
use crate::evidence::{How, LineLog, RUN, Role, RunLine, Settings};

/// The file.
#[derive(Debug)]
pub(super) struct Diary {
    log: Arc<LineLog<RunLine>>,
    faults: AtomicU64,
}

impl Diary {
    /// Begins the diary of a run.
    pub(super) fn begin(folder: &Path, name: &str, pace: &Pace) -> anyhow::Result<Self> {
        let log = LineLog::open(folder, RUN).with_context(|| format!("open {RUN} in {}", folder.display()))?;
        let this = Self { log: Arc::new(log), faults: AtomicU64::new(0) };
        let mut settings = Settings { block_delay_ms: millis(pace.epoch), ..Settings::default() };
        if let Some(ack_wait) = pace.ack_wait {
            settings.ack_wait_ms = millis(ack_wait);
        }
        this.note(RunLine::Began { at: now(), name: name.to_owned(), settings });
        Ok(this)
    }

    /// The same file, for what is seen beside the suite.
    pub(super) fn log(&self) -> Arc<LineLog<RunLine>> {
        Arc::clone(&self.log)
    }

    fn note(&self, line: RunLine) {
        if let Err(error) = self.log.note(&line) {
            tracing::error!("write the diary: {error}");
        }
    }

    pub(super) fn started(&self, name: &str, pid: u32) {
        let Some(role) = role(name) else { return };
        self.note(RunLine::Started { at: now(), name: name.to_owned(), role, pid });
    }

    pub(super) fn ended(&self, name: &str, pid: u32, end: &End, is_told: bool) {
        if role(name).is_none() {
            return;
        }
        let how = match end {
            End::Killed(_) => How::Killed,
            End::Exited(_) if is_told => How::Stopped,
            End::Exited(_) => How::Exited,
        };
        self.note(RunLine::Ended { at: now(), name: name.to_owned(), pid, how });
    }

    /// A fault begins: from now on it may excuse something. Returns its number.
    pub(super) fn begins(&self, fault: &Fault) -> u64 {
        let id = self.faults.fetch_add(1, Ordering::Relaxed);
        self.note(RunLine::Fault {
            at: now(),
            id,
            kind: fault.word(),
            // Neither is known before there is a target; what is counted is in the suite's own table.
            target: String::new(),
            held: String::new(),
            excuses: fault.excuses().into_iter().map(str::to_owned).collect(),
        });
        id
    }

    /// A fault is over.
    pub(super) fn over(&self, id: u64, hit: Option<&Hit>) {
        if let Some(hit) = hit {
            for sector in &hit.poisoned {
                self.note(RunLine::Poisoned { at: now(), sector: sector.to_string(), park: hit.park.clone() });
            }
            for (sector, order) in &hit.ordered {
                self.note(RunLine::Ordered { at: now(), sector: sector.to_string(), order: (*order).to_owned() });
            }
        }
        self.note(RunLine::FaultOver { at: now(), id });
    }

    pub(super) fn submitted(&self, sectors: &[SectorId]) {
        for sector in sectors {
            self.note(RunLine::Submitted { at: now(), sector: sector.to_string() });
        }
    }

    /// The run is over.
    pub(super) fn end(&self, settled: bool) -> anyhow::Result<()> {
        self.note(RunLine::Over { at: now(), settled });
        self.log.sync().context("sync the diary")
    }
}

fn now() -> u64 {
    SystemClock.now_unix_ms()
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a program is, by its name in this suite; none for the suite's own.
fn role(name: &str) -> Option<Role> {
    match name.split('-').next() {
        Some("coordinator") => Some(Role::Coordinator),
        Some("poster") => Some(Role::Poster),
        Some("nats") => Some(Role::Nats),
        Some("devnet") => Some(Role::Chain),
        Some("recorder") => None,
        _ => Some(Role::Agent),
    }
}
