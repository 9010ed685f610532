//! What the harness did and saw.

use std::collections::{BTreeMap, BTreeSet};

use super::Spot;
use crate::evidence::{Child, Line, RUN, RunLine, Settings, Write};

/// Something at a line.
#[derive(Debug, Clone)]
pub(super) struct Noted<T> {
    pub(super) spot: Spot,
    pub(super) at: u64,
    pub(super) value: T,
}

/// A fault, and until when it lasted.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) id: u64,
    pub(super) until: Option<u64>,
    pub(super) excuses: Vec<String>,
}

/// A child and when it was missed.
#[derive(Debug, Clone)]
pub(super) struct Lived {
    pub(super) child: Child,
    pub(super) until: Option<u64>,
}

/// The harness' facts.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) settings: Settings,
    pub(super) started: Vec<Noted<String>>,
    pub(super) faults: Vec<Noted<Fault>>,
    pub(super) submitted: Vec<Noted<String>>,
    pub(super) poisoned: BTreeMap<String, BTreeSet<u16>>,
    pub(super) ordered: BTreeMap<String, Vec<Noted<String>>>,
    pub(super) drained: Vec<Noted<String>>,
    pub(super) children: Vec<Noted<Lived>>,
    pub(super) acknowledged: Vec<Noted<Write>>,
    pub(super) reread: BTreeSet<Write>,
    pub(super) reread_all: Option<Spot>,
    /// Whether everything came to rest, once the run is over.
    pub(super) over: Option<Noted<bool>>,
}

impl Run {
    pub(super) fn take(&mut self, Line { number: line, value }: Line<RunLine>) {
        let spot = Spot { file: RUN, line };
        match value {
            RunLine::Began { settings, .. } => self.settings = settings,
            RunLine::Started { at, name, .. } => self.started.push(Noted { spot, at, value: name }),
            // Who was away when is judged by faults and their excuses.
            RunLine::Ended { .. } => {}
            RunLine::Fault { at, id, excuses, .. } => {
                self.faults.push(Noted { spot, at, value: Fault { id, until: None, excuses } });
            }
            RunLine::FaultOver { at, id } => {
                for fault in self.faults.iter_mut().filter(|fault| fault.value.id == id) {
                    fault.value.until = Some(at);
                }
            }
            RunLine::Submitted { at, sector } => self.submitted.push(Noted { spot, at, value: sector }),
            RunLine::Poisoned { sector, park, .. } => self.poisoned.entry(sector).or_default().extend(park),
            RunLine::Ordered { at, sector, order } => {
                self.ordered.entry(sector).or_default().push(Noted { spot, at, value: order });
            }
            RunLine::Drained { at, agent } => self.drained.push(Noted { spot, at, value: agent }),
            RunLine::Child(child) => {
                self.children.push(Noted { spot, at: child.at, value: Lived { child, until: None } });
            }
            RunLine::ChildGone { at, pid, start_ticks } => {
                let gone = |lived: &&mut Noted<Lived>| {
                    (lived.value.child.pid, lived.value.child.start_ticks) == (pid, start_ticks)
                };
                for lived in self.children.iter_mut().filter(gone) {
                    lived.value.until = Some(at);
                }
            }
            RunLine::Acknowledged { at, write } => self.acknowledged.push(Noted { spot, at, value: write }),
            RunLine::Reread { write, .. } => {
                self.reread.insert(write);
            }
            RunLine::RereadAll { .. } => self.reread_all = Some(spot),
            RunLine::Over { at, settled } => self.over = Some(Noted { spot, at, value: settled }),
        }
    }

    /// Whether a fault that excuses an invariant lasted in this time. One that has no end lasts to the end of the run.
    pub(super) fn is_excused(&self, id: &str, from: u64, to: u64) -> bool {
        let excuses = |fault: &&Noted<Fault>| {
            fault.at <= to
                && fault.value.until.is_none_or(|until| until >= from)
                && fault.value.excuses.iter().any(|excused| excused == id)
        };
        self.faults.iter().any(|fault| excuses(&fault))
    }

    /// Whether a sector was spoilt on purpose.
    pub(super) fn is_poisoned(&self, sector: &str) -> bool {
        self.poisoned.contains_key(sector)
    }

    /// Whether everything came to rest before the run was over.
    pub(super) fn is_settled(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over.value)
    }
}
