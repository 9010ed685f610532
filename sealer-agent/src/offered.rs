//! Results that were offered while their task was away: it comes back, and is then done already.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Offers remembered; past it all are forgotten, and a stage may be done twice.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Offer {
    at: Instant,
    /// The record's last transition when its task came back first.
    seq: Option<u64>,
}

/// What was offered, by the subject of its task.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    offers: Mutex<HashMap<String, Offer>>,
}

impl Offered {
    /// A result was stored, and its task was not there to be acknowledged.
    pub(crate) fn note(&self, subject: &str, seq: Option<u64>, at: Instant) {
        let Ok(mut offers) = self.offers.lock() else { return };
        if offers.len() >= REMEMBERED_MAX {
            offers.clear();
        }
        offers.insert(subject.to_owned(), Offer { at, seq });
    }

    /// Whether the result for a task that came back may still change its record, which is at transition `seq`. For
    /// `wait` at most: a result that the coordinator refused changes nothing.
    pub(crate) fn is_pending(&self, subject: &str, seq: u64, now: Instant, wait: Duration) -> bool {
        let Ok(mut offers) = self.offers.lock() else { return false };
        let Some(offer) = offers.get_mut(subject) else { return false };
        let unchanged = *offer.seq.get_or_insert(seq) == seq;
        if unchanged && now.saturating_duration_since(offer.at) < wait {
            return true;
        }
        offers.remove(subject);
        false
    }

    /// Whether a result was offered for this very task, which is not published twice.
    pub(crate) fn was_offered(&self, subject: &str) -> bool {
        self.offers.lock().is_ok_and(|mut offers| offers.remove(subject).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[test]
    fn an_offer_holds_its_task_back_until_the_record_moves_or_the_wait_is_over() {
        let (offered, start) = (Offered::default(), Instant::now());
        assert!(!offered.is_pending("a", 5, start, WAIT));
        offered.note("a", Some(5), start);
        assert!(offered.is_pending("a", 5, start, WAIT));
        assert!(!offered.is_pending("a", 6, start, WAIT), "the record has taken it");
        assert!(!offered.is_pending("a", 5, start, WAIT), "and it is forgotten");
        offered.note("a", Some(5), start);
        assert!(!offered.is_pending("a", 5, start + WAIT, WAIT), "it was refused");
    }

    #[test]
    fn an_offer_of_an_earlier_run_goes_by_the_first_sight_of_the_record() {
        let (offered, start) = (Offered::default(), Instant::now());
        offered.note("a", None, start);
        assert!(offered.is_pending("a", 9, start, WAIT));
        assert!(!offered.is_pending("a", 10, start, WAIT));
    }
}
