//! What a result is worth, by the record of its sector as it is now.
//!
//! Pure. The coordinator judges results; this only tells which ones must not be shown to it yet: it would drop one
//! without a record, and refuse one from another life of the queue.

use streams::{
    message::{Outcome, TaskResult},
    sector::SectorRecord,
};

use crate::{
    request::{self, Due},
    tenure,
};

/// What to do with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Have the queue store it.
    Offer,
    /// Keep it: there is no record, or it has not come to this stage.
    Wait,
    /// The record is of a later life of the queue, and waits for just this: claim the stage there first.
    Reclaim,
    /// Drop it: the record is of a later life, and past this.
    Past,
}

/// What to do with `result`.
pub(crate) fn of(result: &TaskResult, record: Option<&SectorRecord>) -> Standing {
    let Some(record) = record else { return Standing::Wait };
    if record.incarnation <= result.claim.incarnation {
        return Standing::Offer;
    }
    if matches!(result.outcome, Outcome::Failed { .. }) || tenure::generation_of(record) != result.claim.generation {
        return Standing::Past;
    }
    match request::due(result.stage, record, &result.place) {
        Due::Now => Standing::Reclaim,
        Due::NotYet => Standing::Wait,
        Due::MovedOn => Standing::Past,
    }
}

#[cfg(test)]
mod tests {
    use streams::{
        id::{Incarnation, StoreId, Timestamp},
        message::{ClaimRef, Facts, Failure, FailureClass},
        proof::{Bytes32, Drawn},
        sector::{Placement, SectorState},
        stage::Stage,
    };

    use super::*;
    use crate::sample::allocated;

    fn record(incarnation: Incarnation, generation: u32, done: bool) -> SectorRecord {
        let at = Placement { place: "here".parse().unwrap(), store: StoreId(uuid::Uuid::nil()), generation };
        let (comm_d, ticket) = (Bytes32([1; 32]), Drawn { epoch: 1, value: Bytes32([2; 32]) });
        let state = if done {
            SectorState::Pc1Done { at, comm_d, ticket }
        } else {
            SectorState::Ticketed { at, comm_d, ticket }
        };
        SectorRecord { incarnation, state, ..allocated(1) }
    }

    fn result(outcome: Outcome) -> TaskResult {
        TaskResult {
            sector: allocated(1).id,
            stage: Stage::Pc1,
            agent: "a".parse().unwrap(),
            place: "here".parse().unwrap(),
            claim: ClaimRef { attempt: 1, fence: 9, generation: 1, incarnation: Incarnation::FIRST },
            started_at: Timestamp(1),
            ended_at: Timestamp(2),
            outcome,
        }
    }

    #[test]
    fn a_result_is_worth_what_its_record_says() {
        let (first, second) = (Incarnation::FIRST, Incarnation::FIRST.next());
        let mut placed = record(second, 1, false);
        placed.state = SectorState::Placed { at: placed.state.placement().unwrap().clone() };
        let done = result(Outcome::Done { facts: Facts::Pc1 {} });
        let cases = [
            ("no record", None, Standing::Wait),
            ("the same life", Some(record(first, 1, false)), Standing::Offer),
            // The coordinator judges what is stale within one life.
            ("the same life, moved on", Some(record(first, 1, true)), Standing::Offer),
            ("a later life that waits for it", Some(record(second, 1, false)), Standing::Reclaim),
            ("a later life that will come to it", Some(placed), Standing::Wait),
            ("a later life that is past it", Some(record(second, 1, true)), Standing::Past),
            ("a later life with another ticket", Some(record(second, 2, false)), Standing::Past),
        ];
        for (case, record, want) in cases {
            assert_eq!(of(&done, record.as_ref()), want, "{case}");
        }
        let failure = Failure { class: FailureClass::RetryHere, code: "c".to_owned(), message: "m".to_owned() };
        let failed = result(Outcome::Failed { failure });
        assert_eq!(of(&failed, Some(&record(second, 1, false))), Standing::Past, "failures are not carried over");
    }
}
