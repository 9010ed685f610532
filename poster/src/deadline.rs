//! Proving windows, computed from what the node says about a miner's current deadline.
//!
//! ```text
//!  challenge      open                         close = next open
//! ─────┼────────────┼────────────────────────────┼──────────────► epoch
//!      │   Proving  │     Open: proofs count     │  Closed
//! ```
//!
//! A deadline comes round once a proving period; a [`Window`] is one such occurrence, named by its miner and the
//! epoch it opens at. The challenge lies before the opening, inside the window of the deadline before, so two windows
//! of one miner can be at work at once.

use streams::{
    id::{Epoch, MinerId},
    records::DeadlineNow,
};

/// One occurrence of one deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Window {
    pub(crate) miner: MinerId,
    /// The deadline's index.
    pub(crate) deadline: u64,
    /// First epoch in which a proof counts.
    pub(crate) open: Epoch,
    /// First epoch in which it no longer does.
    pub(crate) close: Epoch,
    /// The epoch whose beacon gives the challenge.
    pub(crate) challenge: Epoch,
}

/// When to begin, and when to send, as offsets from what the chain fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Epochs to let pass after the challenge, so that a short reorg does not change it under a running proof.
    pub(crate) start_confidence: Epoch,
    /// Epochs to let pass after the opening before sending, so that a short reorg does not put the message in front
    /// of it. At most a quarter of the window.
    pub(crate) submit_confidence: Epoch,
}

/// Where a window stands at a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The challenge is not known, or not deep enough.
    Early,
    /// It can be proven, and not yet sent.
    Proving,
    /// It can be proven and sent.
    Open,
    /// Open still, but a message pushed now would be executed after the close.
    Closing,
    /// Nothing counts any more.
    Closed,
}

impl Window {
    /// The window the node calls current: the next one that has not elapsed.
    pub(crate) const fn current(now: &DeadlineNow) -> Self {
        Self { miner: now.miner, deadline: now.index, open: now.open, close: now.close, challenge: now.challenge }
    }

    /// The one after it. Windows are contiguous, also from one proving period to the next.
    pub(crate) fn following(now: &DeadlineNow) -> Self {
        Self {
            miner: now.miner,
            deadline: now.index.saturating_add(1).checked_rem(now.period_deadlines).unwrap_or(0),
            open: now.close,
            close: now.close.saturating_add(now.challenge_window),
            challenge: now.close.saturating_sub(now.challenge_lookback),
        }
    }

    /// Epochs from challenge to close: all the time there is.
    pub(crate) const fn span(&self) -> Epoch {
        self.close.saturating_sub(self.challenge)
    }

    /// Where it stands when the head is at `head`. A message pushed then is executed in the next epoch at the
    /// earliest, and the actor asks whether *that* one is in the window.
    pub(crate) fn phase(&self, head: Epoch, timing: Timing) -> Phase {
        let executed = head.saturating_add(1);
        let quarter = self.close.saturating_sub(self.open).max(0) / 4;
        let send_from = self.open.saturating_add(timing.submit_confidence.clamp(0, quarter));
        if head >= self.close {
            Phase::Closed
        } else if executed >= self.close {
            Phase::Closing
        } else if executed >= send_from {
            Phase::Open
        } else if head >= self.challenge.saturating_add(timing.start_confidence.max(0)) {
            Phase::Proving
        } else {
            Phase::Early
        }
    }

    /// Half of the time from challenge to close is over: what cannot be read by now is left out, so that the rest
    /// is proven in time.
    pub(crate) const fn is_past_half(&self, head: Epoch) -> bool {
        head >= self.challenge.saturating_add(self.span() / 2)
    }

    /// How long a task may stay unanswered before another one is handed out beside it: a third of the time.
    pub(crate) fn patience(&self) -> Epoch {
        (self.span() / 3).max(1)
    }
}

/// Every deadline of a period with its next window, the current one first.
pub(crate) fn calendar(now: &DeadlineNow) -> Vec<Window> {
    let mut windows = vec![Window::current(now)];
    let mut at = *now;
    for _ in 1..now.period_deadlines {
        let next = Window::following(&at);
        windows.push(next);
        at.index = next.deadline;
        at.open = next.open;
        at.close = next.close;
        at.challenge = next.challenge;
    }
    windows
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The fast devnet's numbers.
    pub(crate) fn fast(miner: u64, epoch: Epoch) -> DeadlineNow {
        let (deadlines, window, lookback, cutoff) = (6, 15, 3, 8);
        let period = 90;
        let index = (epoch % period) / window;
        let open = epoch - epoch % window;
        DeadlineNow {
            miner: MinerId(miner),
            epoch,
            period_start: epoch - epoch % period,
            index: index.unsigned_abs(),
            open,
            close: open + window,
            challenge: open - lookback,
            fault_cutoff: open - cutoff,
            period_deadlines: deadlines,
            proving_period: period,
            challenge_window: window,
            challenge_lookback: lookback,
        }
    }

    const TIMING: Timing = Timing { start_confidence: 1, submit_confidence: 4 };

    #[test]
    fn the_following_window_begins_where_this_one_closes() {
        let now = fast(1000, 31);
        let next = Window::following(&now);
        assert_eq!((next.deadline, next.challenge, next.open, next.close), (3, 42, 45, 60));
        let last = Window::following(&fast(1000, 89));
        assert_eq!((last.deadline, last.open), (0, 90), "the period rolls over");
    }

    #[test]
    fn a_window_has_one_phase_at_every_head() {
        let window = Window::current(&fast(1000, 30));
        let phases: Vec<_> = (26..=46).map(|head| window.phase(head, TIMING)).collect();
        let expected = [
            (27..=27, Phase::Early),
            (28..=31, Phase::Proving),
            (32..=43, Phase::Open),
            (44..=44, Phase::Closing),
            (45..=46, Phase::Closed),
        ];
        for (heads, phase) in expected {
            for head in heads {
                assert_eq!(phases[usize::try_from(head - 26).unwrap()], phase, "head {head}");
            }
        }
    }

    #[test]
    fn without_confidence_the_first_message_is_executed_in_the_opening_epoch() {
        let timing = Timing { start_confidence: 0, submit_confidence: 0 };
        let window = Window::current(&fast(1000, 30));
        assert_eq!(window.phase(26, timing), Phase::Early);
        assert_eq!(window.phase(27, timing), Phase::Proving);
        assert_eq!(window.phase(28, timing), Phase::Proving);
        assert_eq!(window.phase(29, timing), Phase::Open, "executed at 30");
    }

    #[test]
    fn the_calendar_has_every_deadline_once() {
        let windows = calendar(&fast(1000, 50));
        let indices: Vec<_> = windows.iter().map(|w| w.deadline).collect();
        assert_eq!(indices, [3, 4, 5, 0, 1, 2]);
        assert!(windows.windows(2).all(|pair| pair[0].close == pair[1].open));
    }
}
