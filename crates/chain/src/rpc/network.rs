//! A node is on one network for as long as this process lives. Behind one address there may be several nodes, and one
//! of them may be another network's: what it says, and what would be sent through it, must count for nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::error::Fault;

/// A node that has told its network is believed so long before it is asked again.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// Before this method it is asked each time.
const SENDS: &str = "Filecoin.MpoolPush";

#[derive(Debug, Default)]
pub(super) struct Network(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    name: String,
    told_at: Instant,
}

impl Network {
    /// Whether the node has to tell its network before it is called. Never before it was asked for the first time.
    pub(super) fn must_tell(&self, method: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| method == SENDS || known.told_at.elapsed() >= BELIEVED_FOR)
    }

    /// The node told its network: the first one is kept, and any other refused.
    pub(super) fn told(&self, name: &str) -> Result<(), Fault> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_mut() {
            Some(known) if known.name != name => {
                Err(Fault::OtherNetwork { found: name.to_owned(), expected: known.name.clone() })
            }
            _ => {
                *known = Some(Known { name: name.to_owned(), told_at: Instant::now() });
                Ok(())
            }
        }
    }
}
