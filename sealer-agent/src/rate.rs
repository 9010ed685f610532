//! Bytes a second of a job, of late.

use std::collections::VecDeque;

use streams::{id::Timestamp, records::BytesDone};

/// Changes that a rate is over: some seconds of a copy, the last layers of a PC1.
const CHANGES: usize = 9;

/// Follows how far a job is.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When how much was done, in the present phase.
    seen: VecDeque<(Timestamp, u64)>,
    total: u64,
}

impl Rate {
    /// Sees how far the job is; bytes a second, once it has changed while we looked.
    pub(crate) fn see(&mut self, bytes: Option<BytesDone>, now: Timestamp) -> Option<u64> {
        let Some(BytesDone { done, total }) = bytes else {
            self.seen.clear();
            return None;
        };
        let before = self.seen.back().map(|(_, done)| *done);
        // Another file or tree, or the same once more.
        if total != self.total || before.is_some_and(|before| done < before) {
            self.seen.clear();
            self.total = total;
        }
        if before != Some(done) || self.seen.is_empty() {
            self.seen.push_back((now, done));
            if self.seen.len() > CHANGES {
                self.seen.pop_front();
            }
        }
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        last.1.saturating_sub(first.1).saturating_mul(1000).checked_div(last.0.ms_since(first.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(done: u64) -> Option<BytesDone> {
        Some(BytesDone { done, total: 1_000_000 })
    }

    #[test]
    fn a_rate_is_over_the_last_changes() {
        let mut rate = Rate::default();
        assert_eq!(rate.see(done(5_000), Timestamp(0)), None, "where it began is not known");
        assert_eq!(rate.see(done(5_000), Timestamp(1_000)), None);
        assert_eq!(rate.see(done(7_000), Timestamp(2_000)), Some(1_000));
        assert_eq!(rate.see(done(7_000), Timestamp(9_000)), Some(1_000), "it waits for the next change");
        for second in 10..30 {
            rate.see(done(7_000 + second * 100), Timestamp(second * 1_000));
        }
        assert_eq!(rate.see(done(10_000), Timestamp(30_000)), Some(100));
    }

    #[test]
    fn another_phase_begins_anew() {
        let mut rate = Rate::default();
        rate.see(done(0), Timestamp(0));
        assert_eq!(rate.see(done(500), Timestamp(1_000)), Some(500));
        assert_eq!(rate.see(done(100), Timestamp(2_000)), None, "it went back");
        assert_eq!(rate.see(done(200), Timestamp(3_000)), Some(100));
        assert_eq!(rate.see(None, Timestamp(4_000)), None);
        assert_eq!(rate.see(Some(BytesDone { done: 900, total: 1_000 }), Timestamp(5_000)), None);
    }
}
