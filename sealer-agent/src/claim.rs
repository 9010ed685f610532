//! Who works on a stage: a key in `CLAIMS`, changed by compare-and-set. Its revision at the moment of claiming is the
//! fence that the result carries: whoever claimed later has a higher one.

use std::time::Duration;

use streams::{
    error::QueueError,
    id::{AgentId, Incarnation, SectorId, Timestamp},
    kv::{Bucket, CasError},
    message::ClaimRef,
    records::Claim,
    stage::Stage,
};
use uuid::Uuid;

use crate::now::now;

/// Times a change is tried again after another was faster.
const RACES_MAX: u32 = 8;

/// Who claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub(crate) agent: AgentId,
    pub(crate) run: Uuid,
}

/// Which life of the sector work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// One ticket, one cache folder.
    pub(crate) generation: u32,
    /// One life of the queue.
    pub(crate) incarnation: Incarnation,
}

/// Whether a stage may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As this attempt.
    Free { attempt: u32 },
    /// No: somebody is at work.
    Busy { holder: AgentId },
}

/// Reads a claim. One that was let go is free. So is one whose holder was silent for `stale_after`, and one of an
/// earlier run of this very agent, since two runs never have one name, and one of an earlier life of the queue. A new
/// generation counts its attempts anew.
///
/// Work that goes on, after its agent or its claim was lost, is still the attempt that it was: `goes_on`. It may also
/// find a claim of this very run that it was not told of having got.
pub(crate) fn judge(
    found: Option<&Claim>,
    me: &Claimant,
    life: Life,
    now: Timestamp,
    stale_after: Duration,
    goes_on: Option<u32>,
) -> Verdict {
    let Some(claim) = found else { return Verdict::Free { attempt: goes_on.unwrap_or(1) } };
    let let_go = claim.beat_at == Timestamp(0);
    let stale = u128::from(now.ms_since(claim.beat_at)) > stale_after.as_millis();
    let own_past = claim.agent == me.agent && (claim.run != me.run || goes_on.is_some());
    let past_life = claim.incarnation < life.incarnation;
    if !(let_go || stale || own_past || past_life) {
        return Verdict::Busy { holder: claim.agent.clone() };
    }
    let same_life = Life { generation: claim.generation, incarnation: claim.incarnation } == life;
    let attempt = match goes_on {
        Some(attempt) if same_life => attempt.max(claim.attempt),
        Some(attempt) => attempt,
        None if same_life => claim.attempt.saturating_add(1),
        None => 1,
    };
    Verdict::Free { attempt }
}

/// Takes claims for one run of this agent.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    bucket: Bucket<Claim>,
    me: Claimant,
}

/// What came of asking for a stage.
#[derive(Debug)]
pub(crate) enum Taken {
    Mine(Box<Held>),
    Busy { holder: AgentId },
}

impl Claims {
    pub(crate) const fn new(bucket: Bucket<Claim>, me: Claimant) -> Self {
        Self { bucket, me }
    }

    /// Claims a stage unless a live holder has it; as the attempt that `goes_on`, where work does.
    pub(crate) async fn take(
        &self,
        sector: SectorId,
        stage: Stage,
        life: Life,
        stale_after: Duration,
        goes_on: Option<u32>,
    ) -> Result<Taken, QueueError> {
        let key = format!("{}.{stage}", sector.key());
        for _ in 0..RACES_MAX {
            let found = self.bucket.get(&key).await?;
            let at = now();
            let found_claim = found.as_ref().map(|e| &e.value);
            let attempt = match judge(found_claim, &self.me, life, at, stale_after, goes_on) {
                Verdict::Free { attempt } => attempt,
                Verdict::Busy { holder } => return Ok(Taken::Busy { holder }),
            };
            let Claimant { agent, run } = self.me.clone();
            let Life { generation, incarnation } = life;
            let claim = Claim { agent, run, attempt, generation, incarnation, claimed_at: at, beat_at: at };
            let written = match found {
                Some(entry) => self.bucket.update(&key, &claim, entry.revision).await,
                None => self.bucket.create(&key, &claim).await,
            };
            match written {
                Ok(fence) => {
                    host::failpoint!("agent.claim.taken");
                    let bucket = self.bucket.clone();
                    return Ok(Taken::Mine(Box::new(Held { bucket, key, claim, fence, revision: fence, lost: false })));
                }
                Err(CasError::Lost { .. }) => {}
                Err(CasError::Queue(error)) => return Err(error),
            }
        }
        Ok(Taken::Busy { holder: self.me.agent.clone() })
    }
}

/// A stage that is ours until another takes it over.
#[derive(Debug)]
pub(crate) struct Held {
    bucket: Bucket<Claim>,
    key: String,
    claim: Claim,
    fence: u64,
    revision: u64,
    lost: bool,
}

/// How work under a claim came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// With a result: the next claim is another attempt.
    WithResult,
    /// Without one, by no fault of the sector: it costs no attempt.
    Untried,
}

impl Held {
    /// What the result carries.
    pub(crate) const fn reference(&self) -> ClaimRef {
        ClaimRef {
            attempt: self.claim.attempt,
            fence: self.fence,
            generation: self.claim.generation,
            incarnation: self.claim.incarnation,
        }
    }

    /// Says that the work goes on. False once another has the claim: the work may go on, and its result is offered,
    /// but the task in the queue is no longer ours to prolong.
    pub(crate) async fn beat(&mut self) -> Result<bool, QueueError> {
        let claim = Claim { beat_at: now(), ..self.claim.clone() };
        self.write(claim).await
    }

    /// Leaves the claim such that another can take it at once.
    pub(crate) async fn let_go(mut self, how: LetGo) -> Result<(), QueueError> {
        let attempt = match how {
            LetGo::WithResult => self.claim.attempt,
            LetGo::Untried => self.claim.attempt.saturating_sub(1),
        };
        let claim = Claim { beat_at: Timestamp(0), attempt, ..self.claim.clone() };
        self.write(claim).await.map(|_mine| ())
    }

    async fn write(&mut self, claim: Claim) -> Result<bool, QueueError> {
        for _ in 0..RACES_MAX {
            if self.lost {
                return Ok(false);
            }
            match self.bucket.update(&self.key, &claim, self.revision).await {
                Ok(revision) => {
                    self.revision = revision;
                    return Ok(true);
                }
                Err(CasError::Lost { .. }) => self.read_again().await?,
                Err(CasError::Queue(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    /// A beat whose answer was lost may have been written after all: then the claim is ours under a newer revision.
    async fn read_again(&mut self) -> Result<(), QueueError> {
        match self.bucket.get(&self.key).await? {
            Some(entry) if entry.value.run == self.claim.run && entry.value.claimed_at == self.claim.claimed_at => {
                self.revision = entry.revision;
            }
            _ => self.lost = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn me() -> Claimant {
        Claimant { agent: "a".parse().unwrap(), run: Uuid::from_u128(1) }
    }

    fn claim(agent: &str, run: u128, beat_ms: u64) -> Claim {
        Claim {
            agent: agent.parse().unwrap(),
            run: Uuid::from_u128(run),
            attempt: 2,
            generation: 1,
            incarnation: Incarnation::FIRST,
            claimed_at: Timestamp(1),
            beat_at: Timestamp(beat_ms),
        }
    }

    fn at(now_ms: u64, found: &Claim, generation: u32) -> Verdict {
        let life = Life { generation, incarnation: Incarnation::FIRST };
        judge(Some(found), &me(), life, Timestamp(now_ms), WAIT, None)
    }

    #[test]
    fn the_first_claim_is_the_first_attempt() {
        assert_eq!(
            judge(None, &me(), Life { generation: 1, incarnation: Incarnation::FIRST }, Timestamp(5), WAIT, None),
            Verdict::Free { attempt: 1 }
        );
    }

    #[test]
    fn a_live_holder_keeps_it_and_a_silent_one_loses_it() {
        let found = claim("b", 9, 100_000);
        assert_eq!(at(160_000, &found, 1), Verdict::Busy { holder: "b".parse().unwrap() });
        assert_eq!(at(160_001, &found, 1), Verdict::Free { attempt: 3 });
        // A clock that is behind the holder's never makes it stale.
        assert!(matches!(at(50_000, &found, 1), Verdict::Busy { .. }));
    }

    #[test]
    fn what_was_let_go_is_free_at_once() {
        assert_eq!(at(1, &claim("b", 9, 0), 1), Verdict::Free { attempt: 3 });
    }

    #[test]
    fn an_earlier_run_of_this_agent_is_dead_and_this_one_is_not() {
        assert_eq!(at(100_000, &claim("a", 9, 100_000), 1), Verdict::Free { attempt: 3 });
        assert!(matches!(at(100_000, &claim("a", 1, 100_000), 1), Verdict::Busy { .. }));
    }

    #[test]
    fn a_claim_of_an_earlier_life_of_the_queue_is_free_and_counts_anew() {
        let found = claim("b", 9, 100_000);
        let life = Life { generation: 1, incarnation: Incarnation::FIRST.next() };
        assert_eq!(judge(Some(&found), &me(), life, Timestamp(100_000), WAIT, None), Verdict::Free { attempt: 1 });
    }

    #[test]
    fn a_new_generation_counts_anew() {
        assert_eq!(at(1, &claim("b", 9, 0), 2), Verdict::Free { attempt: 1 });
    }

    #[test]
    fn work_that_goes_on_is_the_attempt_that_it_was() {
        let life = Life { generation: 1, incarnation: Incarnation::FIRST };
        let goes_on =
            |found: Option<&Claim>, life, attempt| judge(found, &me(), life, Timestamp(100_000), WAIT, Some(attempt));
        // An earlier run's, or one of this run whose answer was lost.
        assert_eq!(goes_on(Some(&claim("a", 9, 100_000)), life, 2), Verdict::Free { attempt: 2 });
        assert_eq!(goes_on(Some(&claim("a", 1, 100_000)), life, 2), Verdict::Free { attempt: 2 });
        // Another tried meanwhile, and let it go: an attempt never counts backwards.
        assert_eq!(goes_on(Some(&claim("b", 9, 0)), life, 1), Verdict::Free { attempt: 2 });
        assert!(matches!(goes_on(Some(&claim("b", 9, 100_000)), life, 2), Verdict::Busy { .. }));
        // After a total loss.
        let next = Life { incarnation: Incarnation::FIRST.next(), ..life };
        assert_eq!(goes_on(None, next, 3), Verdict::Free { attempt: 3 });
        assert_eq!(goes_on(Some(&claim("b", 9, 100_000)), next, 3), Verdict::Free { attempt: 3 });
    }
}
