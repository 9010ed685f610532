//! Where a sector's time went: pure arithmetic over its story.

use std::path::Path;

use anyhow::Context as _;
use streams::{
    id::{Epoch, SectorId, Timestamp},
    sector::{SectorRecord, SectorState, StageRun},
    stage::Stage,
};

/// The time of one sector from submission to proving, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// From submission to proving.
    pub(crate) total_ms: u64,
    /// Each stage on the way, in order: waiting for a slot, then running.
    pub(crate) stages: Vec<(Stage, u64, u64)>,
    /// Epochs the chain's rules ask for, as time.
    pub(crate) epochs_ms: u64,
    /// How long its stages had to share the machine with window PoSts, to which seals yield their cores: part of the
    /// stages' time.
    pub(crate) yielded_ms: u64,
    /// What is left: queue, verification, batching, noticing that messages landed.
    pub(crate) rest_ms: u64,
}

/// Epochs that no sealing system can do without: each of the two messages is executed in an epoch after the one in
/// which it is sent, and a proof counts from the epoch after the seed's.
const fn epochs_required(challenge_delay: Epoch) -> Epoch {
    let pre_commit_lands = 1;
    let seed = challenge_delay + 1;
    let prove_commit_lands = 1;
    pre_commit_lands + seed + prove_commit_lands
}

/// Splits the time of a sector that is proving; `None` for any other.
///
/// `snarks`: when window PoSt SNARKs were made on the same machine.
pub(crate) fn split(
    record: &SectorRecord,
    challenge_delay: Epoch,
    block_delay_secs: u64,
    snarks: &[(Timestamp, Timestamp)],
) -> Option<Split> {
    if !matches!(record.state, SectorState::Proving { .. }) {
        return None;
    }
    let proving_at = record.messages.iter().filter_map(|m| m.landed_at).max().unwrap_or(record.entered_at);
    let on_the_way = || record.story.iter().filter(|run| is_on_the_way(run.stage) && run.ended_at <= proving_at);
    let stages: Vec<_> = on_the_way()
        .map(|run| (run.stage, run.started_at.ms_since(run.queued_at), run.ended_at.ms_since(run.started_at)))
        .collect();
    let yielded_ms = on_the_way().map(|run| overlap_ms(run, snarks)).sum();
    let total_ms = proving_at.ms_since(record.submitted_at);
    let staged_ms: u64 = stages.iter().map(|(_, waited, ran)| waited + ran).sum();
    let epochs = u64::try_from(epochs_required(challenge_delay)).unwrap_or(0);
    let epochs_ms = epochs.saturating_mul(block_delay_secs).saturating_mul(1000);
    let rest_ms = total_ms.saturating_sub(staged_ms).saturating_sub(epochs_ms);
    Some(Split { total_ms, stages, epochs_ms, yielded_ms, rest_ms })
}

fn overlap_ms(run: &StageRun, others: &[(Timestamp, Timestamp)]) -> u64 {
    others.iter().map(|(from, until)| run.ended_at.min(*until).ms_since(run.started_at.max(*from))).sum()
}

/// Persisting runs beside the wait for the seed, and what follows proving is not on the way to it.
const fn is_on_the_way(stage: Stage) -> bool {
    !matches!(stage, Stage::Persist | Stage::Finalize | Stage::Unseal)
}

/// Shows a split as one line a sector.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "seconds for a person")]
pub(crate) fn print(id: &SectorId, split: &Split) {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let waited: u64 = split.stages.iter().map(|(_, waited, _)| waited).sum();
    let ran: u64 = split.stages.iter().map(|(_, _, ran)| ran).sum();
    let each = split.stages.iter().map(|(stage, _, ran)| format!("{stage} {:.2}", seconds(*ran))).collect::<Vec<_>>();
    println!(
        "  {id}: submit to proving {:.1} = stages {:.1} ({}; {:.1} beside a window PoSt) + waiting for a slot {:.1} + epochs the chain requires {:.1} + the rest {:.1}",
        seconds(split.total_ms),
        seconds(ran),
        each.join(", "),
        seconds(split.yielded_ms),
        seconds(waited),
        seconds(split.epochs_ms),
        seconds(split.rest_ms),
    );
}

/// Keeps the splits for `make bench`, which sets them beside the same stages called directly on the library.
pub(crate) fn write(path: &Path, splits: &[(SectorId, Split)]) -> anyhow::Result<()> {
    let rows: Vec<_> = splits
        .iter()
        .map(|(id, split)| {
            let stages = split
                .stages
                .iter()
                .map(|(stage, waited, ran)| serde_json::json!({ "stage": stage, "waited_ms": waited, "ran_ms": ran }));
            serde_json::json!({
                "sector": id,
                "total_ms": split.total_ms,
                "epochs_ms": split.epochs_ms,
                "yielded_ms": split.yielded_ms,
                "rest_ms": split.rest_ms,
                "stages": stages.collect::<Vec<_>>(),
            })
        })
        .collect();
    let text = serde_json::to_vec_pretty(&rows).context("write the split as JSON")?;
    host::durable::write(path, &text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use streams::{
        id::{Incarnation, MinerId, SectorNumber, Timestamp},
        proof::{Bytes32, Drawn, SealProof},
        sector::{MessageNote, MessageRef, Placement, PreCommit, Sealed, StageRun},
    };

    use super::*;

    fn run(stage: Stage, queued: u64, started: u64, ended: u64) -> StageRun {
        StageRun {
            stage,
            queued_at: Timestamp(queued),
            started_at: Timestamp(started),
            ended_at: Timestamp(ended),
            agent: "maker".parse().unwrap(),
            attempt: 1,
        }
    }

    fn record(state: SectorState) -> SectorRecord {
        let message = MessageRef { sender: "t1x".into(), nonce: 0 };
        SectorRecord {
            id: SectorId { miner: MinerId(1000), number: SectorNumber(1) },
            incarnation: Incarnation::FIRST,
            proof: SealProof::Drg2KiBV1_1,
            pieces: Vec::new(),
            submitted_at: Timestamp(1_000),
            state,
            entered_at: Timestamp(70_000),
            seq: 12,
            what: String::new(),
            generations_lost: 0,
            errors: Vec::new(),
            story: vec![
                run(Stage::Pc1, 1_100, 1_200, 2_000),
                run(Stage::Persist, 2_000, 2_000, 9_000),
                run(Stage::C2, 12_000, 15_000, 60_000),
                run(Stage::Finalize, 70_000, 70_000, 71_000),
            ],
            messages: vec![MessageNote {
                method: "ProveCommitSectors3".into(),
                message,
                cid: None,
                sent_at: Timestamp(60_500),
                landed_at: Some(Timestamp(61_500)),
                height: Some(80),
                exit_code: Some(0),
                gas_used: None,
            }],
        }
    }

    fn proving() -> SectorState {
        let at =
            Placement { place: "here".parse().unwrap(), store: streams::id::StoreId(uuid::Uuid::nil()), generation: 1 };
        let drawn = Drawn { epoch: 1, value: Bytes32([1; 32]) };
        let message = MessageRef { sender: "t1x".into(), nonce: 0 };
        SectorState::Proving {
            sealed: Sealed { at, ticket: drawn, comm_d: Bytes32([2; 32]), comm_r: Bytes32([3; 32]), persisted: None }
                .into(),
            pre_commit: Some(PreCommit { message: Some(message.clone()), epoch: 20 }),
            seed: Some(drawn),
            prove_commit: Some(message),
            activation: 80,
            expiration: 900,
            deadline: 2,
            partition: 0,
            finalized: true,
        }
    }

    #[test]
    fn every_millisecond_is_somewhere() {
        let split = split(&record(proving()), 5, 1, &[]).unwrap();
        assert_eq!(split.yielded_ms, 0);
        assert_eq!(split.total_ms, 60_500);
        assert_eq!(split.stages, vec![(Stage::Pc1, 100, 800), (Stage::C2, 3_000, 45_000)]);
        assert_eq!(split.epochs_ms, 8_000);
        assert_eq!(split.rest_ms, 60_500 - 900 - 48_000 - 8_000);
    }

    #[test]
    fn cores_are_yielded_only_while_both_ran() {
        let snarks = [(500, 900), (1_900, 2_100), (14_000, 16_500), (59_000, 66_000), (30_000, 31_000)];
        let snarks = snarks.map(|(from, until)| (Timestamp(from), Timestamp(until)));
        let split = split(&record(proving()), 5, 1, &snarks).unwrap();
        assert_eq!(split.yielded_ms, 100 + 1_500 + 1_000 + 1_000);
    }

    #[test]
    fn a_sector_on_its_way_has_no_split() {
        let at =
            Placement { place: "here".parse().unwrap(), store: streams::id::StoreId(uuid::Uuid::nil()), generation: 1 };
        assert_eq!(split(&record(SectorState::Placed { at }), 5, 1, &[]), None);
    }
}
