//! Reads what a run left behind and names every invariant that was violated.
//!
//! Independent on purpose: it reads [`crate::evidence`] files and nothing else, and shares no code with the services. It
//! looks at their JSON through views of its own, has its own table of legal moves, and reads the chain's parameters
//! itself. Where two sources tell the same story (records and events, outbox and chain, manifests and records), they
//! are held against each other.
//!
//! An invariant is one function from the evidence to its violations. What cannot be judged from evidence is said at the
//! function.

use std::fmt;

use serde::Serialize;

mod attempts;
mod chain;
mod files;
mod load;
mod messages;
mod nonces;
mod numbers;
mod proofs;
mod queue;
mod record;
mod run;
mod secrets;
mod states;
#[cfg(test)]
mod tests;
mod transitions;

pub use load::{BadEvidence, Evidence};
pub use states::lost_sectors;

/// A line of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    /// The file.
    pub file: &'static str,
    /// The line, from 1; 0 for the whole file.
    pub line: u64,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Serialize for Spot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which one: `I4`.
    pub id: &'static str,
    /// What it is about: a sector, a message, a deadline, a file.
    pub subject: String,
    /// Where it can be seen.
    pub lines: Vec<Spot>,
    /// What happened.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.id, self.subject, self.words)?;
        let lines: Vec<_> = self.lines.iter().map(ToString::to_string).collect();
        if lines.is_empty() { Ok(()) } else { write!(f, " ({})", lines.join(", ")) }
    }
}

/// Makes violations of one invariant.
struct Found {
    id: &'static str,
    all: Vec<Violation>,
}

impl Found {
    const fn of(id: &'static str) -> Self {
        Self { id, all: Vec::new() }
    }

    fn note(&mut self, subject: impl Into<String>, lines: impl IntoIterator<Item = Spot>, words: impl Into<String>) {
        let (subject, words) = (subject.into(), words.into());
        self.all.push(Violation { id: self.id, subject, lines: lines.into_iter().collect(), words });
    }
}

/// One invariant.
pub struct Check {
    /// Its id.
    pub id: &'static str,
    /// What must never happen.
    pub never: &'static str,
    /// Who looks.
    pub judge: fn(&Evidence) -> Vec<Violation>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.never)
    }
}

const fn check(id: &'static str, never: &'static str, judge: fn(&Evidence) -> Vec<Violation>) -> Check {
    Check { id, never, judge }
}

/// Every invariant.
pub const CHECKS: [Check; 24] = [
    check("I1", "one sector number given twice", numbers::i1),
    check("I2", "two tickets within one generation of a sector", numbers::i2),
    check("I3", "pre-commit with an expired ticket", messages::i3),
    check("I4", "pre-commit or prove-commit submitted twice", messages::i4),
    check("I5", "a seed that is not the chain's", messages::i5),
    check("I6", "prove-commit after its due epoch", messages::i6),
    check("I7", "unverified proof on chain", proofs::i7),
    check("I8", "commitments on chain that are not the files'", proofs::i8),
    check("I9", "replica gone before its persisted copy is there", files::i9),
    check("I10", "prove-commit sent while no persisted replica exists", files::i10),
    check("I11", "result of a stale attempt changes state", attempts::i11),
    check("I12", "two live children on one sector's folder", files::i12),
    check("I13", "sector lost: not at its end, and nothing will move it", states::i13),
    check("I14", "sector both parked and worked on", states::i14),
    check("I15", "live partition without accepted PoSt at close", proofs::i15),
    check("I16", "two messages with one nonce, or a nonce gap", nonces::i16),
    check("I17", "recovery declared for a sector that cannot be proven", proofs::i17),
    check("I18", "store over-committed", files::i18),
    check("I19", "state moves backward without a recorded reason", states::i19),
    check("I20", "secret in evidence or log", secrets::i20),
    check("I21", "work started after drain was acknowledged", attempts::i21),
    check("I22", "state change without event, or event without state", states::i22),
    check("Q1", "acknowledged write that is not there after a power cut", queue::q1),
    check("E1", "hole in the evidence", queue::e1),
];

/// Judges everything.
#[must_use]
pub fn judge(evidence: &Evidence) -> Vec<Violation> {
    CHECKS.iter().flat_map(|check| (check.judge)(evidence)).collect()
}
