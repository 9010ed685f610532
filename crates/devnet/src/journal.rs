//! What the chain did, line by line, for whoever checks afterwards that nothing was lost or sent twice.
//!
//! A log is JSON lines. `Devnet.Log` answers those since the program started (the newest [`LINES_MAX`]), and
//! `devnet --log FILE` appends them to a file, not synced: after a power cut or `kill -9` the last line may be torn.
//! Every line is an object whose `line` says what it is; readers skip what they do not know.
//!
//! | `line` | fields | when |
//! |---|---|---|
//! | `started` | `network`, `height`, `head`, `block_delay_ms`, `finality`, `pre_commit_challenge_delay` | the program serves. Tipsets of earlier lines above `height`, or at it with another CID, are abandoned: the chain was saved before them |
//! | `tipset` | `height`, `cid`, `parent` (null in genesis), `beacon` (round), `messages`: list of `cid`, `from`, `to`, `nonce`, `method`, `value` (attoFIL), `params` (base64), `exit_code`, `gas_used` | a tipset was made and executed |
//! | `post` | `tipset`, `miner`, `deadline`, `partitions`, `epoch`, `valid` | a message of that tipset brought a window PoSt and it was verified. Whether the actor took it, the message's exit code says |
//! | `deadline-closed` | `tipset`, `miner`, `deadline`, `epoch` (the last of the window), `partitions`: list of `partition`, `proven`, `live`, `faulty`, `missed` (sector numbers) | a deadline with live sectors ended. `faulty` is after the close; `missed` is what became faulty by it |
//! | `reorganised` | `depth`, `abandoned` (CIDs of tipsets, oldest first), `height`, `head`, `waiting`, `lost` (CIDs of messages) | tipsets were abandoned; lines that name one of them do not count any more |
//! | `pushed` | `cid`, `from`, `nonce`, `to`, `method`, `height` (of the head) | the mempool took a message |
//! | `refused` | the same, and `reason` | the mempool refused one |
//! | `dropped` | `cids`, `height` | the mempool lost messages |
//! | `replaced` | `cid`, `from`, `nonce`, `old` (CID or null), `height` | somebody put another message in a waiting one's place |
//!
//! Addresses are written as the sender wrote them (`f3…`, `f01000`), miners as `f01000`, CIDs as text. The message of a
//! `tipset` line is executed in that tipset, so its effect is in the state from the tipset's child on.

use std::{collections::VecDeque, fs::File, io::Write as _};

use anyhow::Context as _;
use chain::{address::print, json::Base64};
use fvm_shared::receipt::Receipt;
use serde::{Deserialize, Serialize};
use streams::id::{Epoch, MinerId};

use crate::{
    call::PostVerdict,
    mempool::Rejected,
    tipset::{Included, Tipset},
};

/// Lines kept in memory.
pub const LINES_MAX: usize = 1_000_000;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// The program serves.
    Started {
        /// The network's name.
        network: String,
        /// The head's height.
        height: Epoch,
        /// The head's CID.
        head: String,
        /// Milliseconds between epochs.
        block_delay_ms: u64,
        /// Epochs after which a tipset is final.
        finality: Epoch,
        /// Epochs from a pre-commit to its seed.
        pre_commit_challenge_delay: Epoch,
    },
    /// A tipset was made and executed.
    Tipset {
        /// Its height.
        height: Epoch,
        /// Its CID.
        cid: String,
        /// Its parent's CID; none in genesis.
        parent: Option<String>,
        /// The newest beacon round in it.
        beacon: Option<u64>,
        /// Its messages, in order.
        messages: Vec<MessageLine>,
    },
    /// A window PoSt was verified.
    Post {
        /// The tipset that executed its message.
        tipset: String,
        /// What verification said.
        #[serde(flatten)]
        verdict: PostVerdict,
    },
    /// A deadline with live sectors ended.
    DeadlineClosed {
        /// The tipset whose cron ended it.
        tipset: String,
        /// How it ended.
        #[serde(flatten)]
        close: DeadlineClose,
    },
    /// Tipsets were abandoned.
    Reorganised {
        /// How many.
        depth: usize,
        /// Their CIDs, oldest first.
        abandoned: Vec<String>,
        /// The height of what is the head now.
        height: Epoch,
        /// Its CID.
        head: String,
        /// Messages of theirs that wait again.
        waiting: Vec<String>,
        /// Messages of theirs that are in no pool.
        lost: Vec<String>,
    },
    /// The mempool took a message.
    Pushed(PushLine),
    /// The mempool refused a message.
    Refused {
        /// The message.
        #[serde(flatten)]
        push: PushLine,
        /// Why.
        reason: String,
    },
    /// The mempool lost messages.
    Dropped {
        /// Their CIDs.
        cids: Vec<String>,
        /// The head's height.
        height: Epoch,
    },
    /// Another message took a waiting one's place.
    Replaced {
        /// The new message.
        cid: String,
        /// The sender.
        from: String,
        /// The nonce of both.
        nonce: u64,
        /// The message that waited, if one did.
        old: Option<String>,
        /// The head's height.
        height: Epoch,
    },
}

/// A message in a tipset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageLine {
    /// Its CID on chain.
    pub cid: String,
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// Nonce.
    pub nonce: u64,
    /// Method number.
    pub method: u64,
    /// attoFIL sent along.
    pub value: String,
    /// Parameters.
    pub params: Base64,
    /// 0 is success.
    pub exit_code: u32,
    /// Gas used.
    pub gas_used: u64,
}

/// A message that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushLine {
    /// Its CID on chain.
    pub cid: String,
    /// From.
    pub from: String,
    /// Nonce.
    pub nonce: u64,
    /// To.
    pub to: String,
    /// Method number.
    pub method: u64,
    /// The head's height.
    pub height: Epoch,
}

/// How a deadline ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineClose {
    /// The miner.
    pub miner: MinerId,
    /// The deadline.
    pub deadline: u64,
    /// The last epoch of its window.
    pub epoch: Epoch,
    /// Its partitions with live sectors.
    pub partitions: Vec<PartitionClose>,
}

/// A partition at the end of its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionClose {
    /// Its index.
    pub partition: u64,
    /// Whether a PoSt of it was accepted in the window.
    pub proven: bool,
    /// Sectors that are not terminated.
    pub live: Vec<u64>,
    /// Those of them that are faulty now.
    pub faulty: Vec<u64>,
    /// Those that became faulty by this close.
    pub missed: Vec<u64>,
}

impl PushLine {
    pub(crate) fn of(included: &Included, height: Epoch) -> Self {
        let message = &included.signed.message;
        Self {
            cid: included.cid.to_string(),
            from: print(&message.from),
            nonce: message.sequence,
            to: print(&message.to),
            method: message.method_num,
            height,
        }
    }
}

impl Line {
    pub(crate) fn tipset(tipset: &Tipset) -> Self {
        let header = &tipset.header;
        Self::Tipset {
            height: header.height,
            cid: tipset.cid.to_string(),
            parent: header.parents.first().map(ToString::to_string),
            beacon: header.beacon_entries.last().map(|entry| entry.round),
            messages: tipset.messages.iter().zip(&tipset.receipts).map(|(m, r)| MessageLine::of(m, r)).collect(),
        }
    }

    pub(crate) fn push(line: PushLine, outcome: Result<(), &Rejected>) -> Self {
        match outcome {
            Ok(()) => Self::Pushed(line),
            Err(reason) => Self::Refused { push: line, reason: reason.to_string() },
        }
    }
}

impl MessageLine {
    fn of(included: &Included, receipt: &Receipt) -> Self {
        let message = &included.signed.message;
        Self {
            cid: included.cid.to_string(),
            from: print(&message.from),
            to: print(&message.to),
            nonce: message.sequence,
            method: message.method_num,
            value: message.value.atto().to_string(),
            params: Base64(message.params.to_vec()),
            exit_code: receipt.exit_code.value(),
            gas_used: receipt.gas_used,
        }
    }
}

/// The lines so far.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: VecDeque<Line>,
    /// How many came before the first that is kept.
    forgotten: u64,
    file: Option<File>,
}

impl Journal {
    /// Writes every line to come to `file` as well.
    pub(crate) fn write_to(&mut self, file: File) {
        self.file = Some(file);
    }

    pub(crate) fn note(&mut self, line: Line) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            file.write_all(&text).context("write the log")?;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        self.lines.push_back(line);
        Ok(())
    }

    /// At most `limit` lines from number `from` on, and the number of the first of them.
    pub(crate) fn read(&self, from: u64, limit: usize) -> (u64, impl Iterator<Item = &Line>) {
        let first = from.max(self.forgotten);
        let skip = usize::try_from(first - self.forgotten).unwrap_or(usize::MAX);
        (first, self.lines.iter().skip(skip).take(limit))
    }
}
