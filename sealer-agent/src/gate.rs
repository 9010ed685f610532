//! Whether work may begin: what a person said about this agent, and how many slots a class has.
//!
//! A slot asks before it asks the queue, and every task asks once more before it is claimed. From there until its prover
//! works it is *starting*; a duty holds once nothing is starting that it forbids (I21).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use streams::{duty::Duty, stage::Class};
use tokio::sync::watch;

/// The gate of an agent. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
    turns: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct State {
    duty: Duty,
    /// The duty that holds: nothing it forbids was starting any more.
    held: Duty,
    slots: BTreeMap<Class, u32>,
    /// Tasks that start, by subject, and whether each is bound to this place.
    starting: BTreeMap<String, bool>,
}

/// One slot of a class.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) gate: Gate,
    pub(crate) class: Class,
    /// From 1.
    pub(crate) slot: u32,
}

/// A task that may start; it starts no more once this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    subject: String,
}

impl Gate {
    pub(crate) fn new(slots: BTreeMap<Class, u32>) -> Self {
        let gate = Self::default();
        gate.state().slots = slots;
        gate
    }

    /// Lets a task start, unless the duty forbids it.
    pub(crate) fn enter(&self, subject: &str) -> Option<Pass> {
        let bound = is_bound(subject);
        let mut state = self.state();
        if !state.duty.takes(bound) {
            return None;
        }
        state.starting.insert(subject.to_owned(), bound);
        Some(Pass { gate: self.clone(), subject: subject.to_owned() })
    }

    /// The prover of a task works: it has started.
    pub(crate) fn begun(&self, subject: &str) {
        if self.state().starting.remove(subject).is_some() {
            self.turned();
        }
    }

    /// From now on this is the duty; the former one.
    pub(crate) fn set_duty(&self, duty: Duty) -> Duty {
        let before = std::mem::replace(&mut self.state().duty, duty);
        self.turned();
        before
    }

    /// What was the duty in an earlier run is, and holds, before anything can start.
    pub(crate) fn restore(&self, duty: Duty) {
        let mut state = self.state();
        (state.duty, state.held) = (duty, duty);
    }

    pub(crate) fn duty(&self) -> Duty {
        self.state().duty
    }

    /// The duty that holds.
    pub(crate) fn held(&self) -> Duty {
        self.state().held
    }

    pub(crate) fn set_slots(&self, class: Class, slots: u32) {
        self.state().slots.insert(class, slots);
        self.turned();
    }

    pub(crate) fn slots(&self) -> BTreeMap<Class, u32> {
        self.state().slots.clone()
    }

    /// What is starting and the duty forbids.
    pub(crate) fn late(&self) -> Vec<String> {
        late(&self.state())
    }

    /// Waits until nothing is starting that the duty forbids: from then on it holds.
    pub(crate) async fn settle(&self) {
        let mut turns = self.turns.subscribe();
        loop {
            turns.mark_unchanged();
            {
                let mut state = self.state();
                if late(&state).is_empty() {
                    state.held = state.duty;
                    return;
                }
            }
            if turns.changed().await.is_err() {
                return;
            }
        }
    }

    fn turned(&self) {
        self.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whether this slot may ask for work that is bound to this place, or for work of any place.
    pub(crate) fn may_ask(&self, bound: bool) -> bool {
        let state = self.gate.state();
        let has_seat = state.slots.get(&self.class).is_none_or(|slots| self.slot <= *slots);
        has_seat && state.duty.takes(bound)
    }

    /// Told each time it may have changed.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.gate.turns.subscribe()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.begun(&self.subject);
    }
}

fn late(state: &State) -> Vec<String> {
    let forbidden = state.starting.iter().filter(|(_, bound)| !state.duty.takes(**bound));
    forbidden.map(|(subject, _)| subject.clone()).collect()
}

/// Whether a task is bound to a place: its subject names the place, or `any`.
fn is_bound(subject: &str) -> bool {
    subject.split('.').nth(2).is_some_and(|whither| whither != "any")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use streams::id::Timestamp;

    use super::*;

    const BOUND: &str = "seal.pc1-cpu.here.f01000.1.pc1";
    const FREE: &str = "seal.pc1-cpu.any.f01000.2.place";

    #[test]
    fn a_cordon_holds_once_no_placement_is_starting() {
        let gate = Gate::default();
        let (bound, free) = (gate.enter(BOUND).unwrap(), gate.enter(FREE).unwrap());
        assert_eq!(gate.set_duty(Duty::Cordoned), Duty::Serving);
        assert!(gate.enter(FREE).is_none() && gate.enter("seal.pc1-cpu.here.f01000.3.pc1").is_some());
        assert_eq!(gate.settle().now_or_never(), None);
        assert_eq!((gate.held(), gate.late()), (Duty::Serving, vec![FREE.to_owned()]));
        drop(free);
        assert_eq!(gate.settle().now_or_never(), Some(()));
        assert_eq!(gate.held(), Duty::Cordoned);
        drop(bound);
    }

    #[test]
    fn a_drain_holds_once_every_prover_works() {
        let gate = Gate::default();
        let _pass = gate.enter(BOUND).unwrap();
        gate.set_duty(Duty::Drained { at: Timestamp(1) });
        assert!(gate.enter(BOUND).is_none());
        assert_eq!(gate.settle().now_or_never(), None);
        gate.begun(BOUND);
        assert_eq!(gate.settle().now_or_never(), Some(()));
        gate.set_duty(Duty::Serving);
        assert!(gate.enter(FREE).is_some());
    }

    #[test]
    fn a_slot_beyond_their_number_asks_for_nothing() {
        let gate = Gate::new(BTreeMap::from([(Class::Pc1Cpu, 2)]));
        let seat = |slot| Slot { gate: gate.clone(), class: Class::Pc1Cpu, slot };
        assert!(seat(2).may_ask(false) && !seat(3).may_ask(true));
        gate.set_slots(Class::Pc1Cpu, 3);
        assert!(seat(3).may_ask(true));
        gate.set_duty(Duty::Paused);
        assert!(!seat(1).may_ask(true));
    }
}
