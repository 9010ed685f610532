//! Whose result counts for a stage that writes in place: only that of the lock holder.
//!
//! JetStream does not fence, and a stopped agent that continues believes that it holds its claim. So the claim as it is
//! now decides: the result must be of that very claim, or no later one may exist. The record adds the generation, the
//! place and the incarnation (`sector::step`).

use streams::{kv::Entry, message::TaskResult, records::Claim};

/// Whether a result may be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is of the present claim, or of one that nobody followed.
    Holds,
    /// Another agent, or another attempt, claimed the stage later.
    Superseded,
}

/// Compares a result with the claim of its stage.
///
/// A claim's revision only grows, by beats of its holder and by later claims. One that is below the result's fence was
/// written before the result's own claim, as in a bucket that was restored: nobody is later. Otherwise the key holds
/// either the result's claim or a later one, and they are told apart by agent, attempt and life: a claim that was let go
/// untried lowers its attempt, so the number alone could be the same.
pub(crate) fn standing(claim: Option<&Entry<Claim>>, result: &TaskResult) -> Standing {
    let Some(entry) = claim.filter(|_| result.stage.writes_in_place()) else { return Standing::Holds };
    if entry.revision < result.claim.fence {
        return Standing::Holds;
    }
    let now = &entry.value;
    let same = now.agent == result.agent
        && now.attempt == result.claim.attempt
        && now.generation == result.claim.generation
        && now.incarnation == result.claim.incarnation;
    if same { Standing::Holds } else { Standing::Superseded }
}

#[cfg(test)]
mod tests {
    use streams::{
        id::{Incarnation, Timestamp},
        message::{ClaimRef, Facts, Outcome},
        stage::Stage,
    };

    use super::*;

    const ZOMBIE: &str = "a";

    fn result(stage: Stage) -> TaskResult {
        TaskResult {
            sector: "f01000/1".parse().unwrap(),
            stage,
            agent: ZOMBIE.parse().unwrap(),
            place: "here".parse().unwrap(),
            claim: ClaimRef { attempt: 1, fence: 10, generation: 1, incarnation: Incarnation::FIRST },
            started_at: Timestamp(1),
            ended_at: Timestamp(2),
            outcome: Outcome::Done { facts: Facts::Pc1 {} },
        }
    }

    fn claim(agent: &str, attempt: u32, generation: u32, incarnation: u32, revision: u64) -> Entry<Claim> {
        let value = Claim {
            agent: agent.parse().unwrap(),
            run: uuid::Uuid::from_u128(1),
            attempt,
            generation,
            incarnation: Incarnation(incarnation),
            claimed_at: Timestamp(1),
            beat_at: Timestamp(0),
        };
        Entry { key: "f01000.1.pc1".to_owned(), value, revision, created: Timestamp(1) }
    }

    #[test]
    fn only_the_lock_holder_counts_in_place() {
        use Standing::{Holds, Superseded};
        for (label, claim, expected) in [
            ("nobody claimed since: the key is gone", None, Holds),
            ("its own claim, as it was made", Some(claim(ZOMBIE, 1, 1, 1, 10)), Holds),
            ("its own claim, after beats and letting go", Some(claim(ZOMBIE, 1, 1, 1, 14)), Holds),
            ("another took it over", Some(claim("b", 2, 1, 1, 20)), Superseded),
            (
                "another took it over and let it go untried: the attempt is the same",
                Some(claim("b", 1, 1, 1, 21)),
                Superseded,
            ),
            (
                "it claimed again itself: the new attempt's result will come",
                Some(claim(ZOMBIE, 2, 1, 1, 20)),
                Superseded,
            ),
            ("it claimed the next generation, whose attempts count anew", Some(claim(ZOMBIE, 1, 2, 1, 20)), Superseded),
            ("it claimed in the next life of the queue", Some(claim(ZOMBIE, 1, 1, 2, 20)), Superseded),
            ("the bucket is older than the claim: it was restored", Some(claim("b", 3, 1, 1, 9)), Holds),
        ] {
            assert_eq!(standing(claim.as_ref(), &result(Stage::Pc1)), expected, "{label}");
        }
    }

    #[test]
    fn stages_that_only_read_take_any_result_that_verifies() {
        for stage in [Stage::C1, Stage::C2, Stage::Unseal] {
            assert_eq!(standing(Some(&claim("b", 2, 1, 1, 20)), &result(stage)), Standing::Holds, "{stage}");
        }
        for stage in Stage::ALL.into_iter().filter(|stage| stage.writes_in_place()) {
            assert_eq!(standing(Some(&claim("b", 2, 1, 1, 20)), &result(stage)), Standing::Superseded, "{stage}");
        }
    }
}
