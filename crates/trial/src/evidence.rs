//! What a run leaves for the checker: a folder of JSON lines, readable by people and by `jq`.
//!
//! ```text
//! queue.jsonl    every message of every stream, in the order the recorder saw them      recorder
//! chain.jsonl    tipsets, messages, receipts, reorgs, deadlines                          devnet (its journal)
//! stores.jsonl   what lay in the stores when the run was over                            [`collect`]
//! run.jsonl      what the harness did and saw: processes, faults, submissions, children  [`LineLog`]
//! logs/          what the processes printed: searched for secrets, nothing else
//! ```
//!
//! The checker reads these files and nothing else. Times are milliseconds since the Unix epoch, read on the machine
//! that ran everything, so they can be compared across files. A sector is written as people write it, `f01000/17`.

mod children;
mod collect;
mod lines;
mod queue;
mod run;
mod store;

pub use children::{Seen, look_at_children, watch_children};
pub use collect::{StoreFolder, collect};
pub use lines::{BadLine, Line, LineLog, read_lines};
pub use queue::{Body, QueueLine, Stored};
pub use run::{Child, How, Role, RunLine, Settings, Write};
pub use store::{FileSeen, StoreLine};

/// Messages of streams.
pub const QUEUE: &str = "queue.jsonl";
/// The chain's log.
pub const CHAIN: &str = "chain.jsonl";
/// Store contents.
pub const STORES: &str = "stores.jsonl";
/// The harness' facts.
pub const RUN: &str = "run.jsonl";
/// Folder of what processes printed.
pub const LOGS: &str = "logs";
