//! What the harness did and saw.

use serde::{Deserialize, Serialize};

/// What the checker must know of the configuration. A number that is not said is that of the devnet's fast preset and
/// of the services' defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Milliseconds between epochs.
    pub block_delay_ms: u64,
    /// How long a task may be silent.
    pub ack_wait_ms: u64,
    /// How old a ticket may be at its pre-commit, in epochs.
    pub ticket_age_max: i64,
    /// Epochs from a pre-commit to its seed.
    pub challenge_delay: i64,
    /// Epochs from a pre-commit to the last one in which its prove-commit counts.
    pub prove_commit_duration_max: i64,
    /// Epochs of a deadline's window.
    pub challenge_window: i64,
    /// Bytes that stay free in every local store, whatever is promised.
    pub keep_free_bytes: u64,
    /// Texts that were given to the processes as secrets, and must be nowhere.
    pub canaries: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block_delay_ms: 1_000,
            ack_wait_ms: 60_000,
            ticket_age_max: 600,
            challenge_delay: 5,
            prove_commit_duration_max: 86_405,
            challenge_window: 15,
            keep_free_bytes: 0,
            canaries: Vec::new(),
        }
    }
}

/// What kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A nats-server.
    Nats,
    /// A coordinator.
    Coordinator,
    /// An agent.
    Agent,
    /// A poster.
    Poster,
    /// A chain node.
    Chain,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The harness, or a failpoint, killed it.
    Killed,
    /// It was asked to end and did.
    Stopped,
    /// It ended by itself, and nobody had asked.
    Exited,
}

/// A line of `run.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum RunLine {
    /// The run begins. First line.
    Began {
        /// When.
        at: u64,
        /// What it is called: a test, or `seed 17`.
        name: String,
        /// The settings that the checker must know: see [`Settings`].
        settings: Settings,
    },
    /// A process was started.
    Started {
        /// When.
        at: u64,
        /// Its name in this run: `agent-2`. A process that takes another's place has its name; an agent has the one it
        /// has in the queue.
        name: String,
        /// What it is.
        role: Role,
        /// Its process id.
        pid: u32,
    },
    /// A process is gone.
    Ended {
        /// When.
        at: u64,
        /// Its name.
        name: String,
        /// Its process id.
        pid: u32,
        /// How.
        how: How,
    },
    /// A fault was injected.
    Fault {
        /// When.
        at: u64,
        /// Its number in this run.
        id: u64,
        /// Its kind, a stable word: `kill-agent`.
        kind: String,
        /// What it hit.
        target: String,
        /// The work that the target held at that moment: a sector and stage, a message, a deadline. Without it a fault
        /// does not count.
        held: String,
        /// Invariants that cannot be asked for while it lasts, each for a reason given in the fault's own code: `I15`
        /// when every poster is down. Most faults excuse nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        excuses: Vec<String>,
    },
    /// A fault that lasts is over.
    FaultOver {
        /// When.
        at: u64,
        /// Its number.
        id: u64,
    },
    /// A sector was submitted, and the answer named it.
    Submitted {
        /// When the answer came.
        at: u64,
        /// The sector.
        sector: String,
    },
    /// A sector was spoilt on purpose: it need not reach `Proving`, and if it parks it must be with one of these codes.
    Poisoned {
        /// When.
        at: u64,
        /// The sector.
        sector: String,
        /// The codes that are right; none if any is.
        park: Vec<u16>,
    },
    /// A person's order was accepted: a state may move backward for it.
    Ordered {
        /// When.
        at: u64,
        /// The sector.
        sector: String,
        /// The order: `retry`, `abort`, `store-lost`.
        order: String,
    },
    /// An agent acknowledged that it is drained: it starts nothing from now on, until it is started anew.
    Drained {
        /// When.
        at: u64,
        /// The agent, as it names itself in the queue.
        agent: String,
    },
    /// A prover was seen at work.
    Child(Child),
    /// A prover that was seen is gone.
    ChildGone {
        /// When that was noticed.
        at: u64,
        /// Its process id.
        pid: u32,
        /// When the kernel started it, in ticks since boot.
        start_ticks: u64,
    },
    /// A write to the queue was acknowledged by the server.
    Acknowledged {
        /// When.
        at: u64,
        /// The write.
        write: Write,
    },
    /// A write was found again when everything was read back.
    Reread {
        /// When.
        at: u64,
        /// The write.
        write: Write,
    },
    /// Everything there is was read back: an acknowledged write that was not found is lost.
    RereadAll {
        /// When.
        at: u64,
    },
    /// The run is over. Last line.
    Over {
        /// When.
        at: u64,
        /// Whether everything came to rest before: then no sector may be on its way.
        settled: bool,
    },
}

/// A prover at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// When it was first seen.
    pub at: u64,
    /// When it began, to some 20 ms.
    pub started_at: u64,
    /// Its process id.
    pub pid: u32,
    /// When the kernel started it, in ticks since boot: with the id, a name for ever.
    pub start_ticks: u64,
    /// The agent whose job it is.
    pub agent: String,
    /// Its job directory.
    pub job: String,
    /// The sector, unless it proves a partition.
    pub sector: Option<String>,
    /// The stage, or the class of a partition's work.
    pub stage: String,
    /// The sector's folder that it changes; none when it only reads.
    pub folder: Option<String>,
}

/// A write to the queue, by what it stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Write {
    /// The stream.
    pub stream: String,
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Digest of its payload, in hex.
    pub sha256: String,
}
