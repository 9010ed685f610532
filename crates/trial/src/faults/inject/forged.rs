//! Results that nobody made, and messages that come again.

use std::sync::Arc;

use anyhow::Context as _;
use rand_chacha::ChaCha8Rng;
use streams::{
    id::{Incarnation, Timestamp},
    message::{ClaimRef, Facts, Outcome as Came, Task, TaskResult, encode},
    nats::Published,
    proof::{Bytes32, ProofBytes},
    sector::{SectorRecord, SectorState},
    stage::Stage,
    subject::{ResultSubject, TaskSubject, Whither},
};

use super::{Outcome, Recovery, TARGET_MAX, busy_agent, hit, missed, until};
use crate::faults::{cluster::Cluster, kind::Fault, member::Role, view::Held};

/// What forged facts hold: no record may ever show it.
pub(in crate::faults) const FORGED: Bytes32 = Bytes32([0x2e; 32]);
const FORGER: &str = "mallory";

/// A stale pointer, or an old result, once more.
pub(super) async fn again(cluster: &Arc<Cluster>, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    if fault.turn.is_multiple_of(2) { stale_pointer(cluster).await } else { old_result(cluster, rng).await }
}

/// A pointer to a stage that the sector has behind it.
async fn stale_pointer(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let found = until(TARGET_MAX, || {
        cluster.view.sectors().into_iter().find(|record| {
            matches!(
                record.state,
                SectorState::PreCommitted { .. } | SectorState::SeedReady { .. } | SectorState::C1Done { .. }
            )
        })
    });
    let Some(record) = found.await else { return missed("no sector was far enough") };
    let Some(at) = record.state.placement() else { return missed("it has no place") };
    let subject = TaskSubject { whither: Whither::At(at.place.clone()), sector: record.id, stage: Stage::Pc1 };
    let task = Task { sector: record.id, stage: Stage::Pc1, unseal: None };
    let published = cluster.nats.publish_task(&subject, &task).await.context("publish a stale pointer")?;
    if published == Published::AlreadyQueued {
        return missed("it was open already");
    }
    hit("TASKS", format!("{subject}, while it is {}", record.state.name()), Recovery::Nothing)
}

/// A result that was taken long ago is published again, byte by byte.
async fn old_result(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some((_, _turn, held)) = busy_agent(cluster, None, rng).await else { return missed("no agent was at work") };
    let found = cluster.of(Role::Agent).find_map(|member| member.link.old_result());
    let Some((subject, payload)) = found else { return missed("no result was seen yet") };
    publish(cluster, subject.clone(), payload).await?;
    hit("RESULTS", format!("{subject} again, while {held} runs"), Recovery::Nothing)
}

async fn publish(cluster: &Cluster, subject: String, payload: Vec<u8>) -> anyhow::Result<()> {
    let sent = cluster.nats.jetstream().publish(subject, payload.into()).await.context("publish a result")?;
    sent.await.context("have a result stored").map(drop)
}

/// A result that no agent made.
pub(super) async fn forge(cluster: &Arc<Cluster>, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    match fault.turn % 5 {
        0 => in_place(cluster, "a stale fence", rng, |claim| ClaimRef { attempt: 0, fence: 1, ..claim }).await,
        1 => {
            in_place(cluster, "another incarnation", rng, |claim| ClaimRef {
                incarnation: Incarnation(claim.incarnation.0.saturating_add(7)),
                ..claim
            })
            .await
        }
        2 => {
            in_place(cluster, "another generation", rng, |claim| ClaimRef {
                generation: claim.generation.saturating_sub(1),
                ..claim
            })
            .await
        }
        3 => nonsense(cluster, rng).await,
        _ => proof_of_another(cluster).await,
    }
}

/// A stage that writes in place is reported as done by one who does not hold its claim.
async fn in_place(
    cluster: &Cluster,
    how: &str,
    rng: &mut ChaCha8Rng,
    twist: impl Fn(ClaimRef) -> ClaimRef,
) -> anyhow::Result<Outcome> {
    let Some((_, _turn, held)) = busy_agent(cluster, Some(Stage::Pc2), rng).await else {
        return missed("no agent was at work");
    };
    let Some(record) = cluster.view.sector(held.sector) else { return missed("it has no record") };
    let facts = match held.stage {
        Stage::Pc2 => Facts::Pc2 { comm_d: FORGED, comm_r: FORGED },
        Stage::TreeD => Facts::TreeD { comm_d: FORGED },
        Stage::Pc1 => Facts::Pc1 {},
        other => return missed(format!("{other} is not worth forging")),
    };
    let claim = ClaimRef {
        attempt: held.claim.attempt,
        fence: 0,
        generation: held.claim.generation,
        incarnation: held.claim.incarnation,
    };
    send(cluster, &held, &record, facts, twist(claim)).await?;
    hit("RESULTS", format!("{held}, forged with {how}"), Recovery::Nothing)
}

async fn send(
    cluster: &Cluster,
    held: &Held,
    record: &SectorRecord,
    facts: Facts,
    claim: ClaimRef,
) -> anyhow::Result<()> {
    let place = record.state.placement().map(|at| at.place.clone());
    let now = Timestamp(host::clock::Clock::now_unix_ms(&host::clock::SystemClock));
    let result = TaskResult {
        sector: held.sector,
        stage: held.stage,
        agent: FORGER.parse().context("a forger's name")?,
        place: place.map_or_else(|| FORGER.parse(), Ok).context("a forger's place")?,
        claim,
        started_at: now,
        ended_at: now,
        outcome: Came::Done { facts },
    };
    cluster.nats.publish_result(&result).await.context("publish a forged result")
}

/// Bytes that are no result.
async fn nonsense(cluster: &Cluster, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    let Some((_, _turn, held)) = busy_agent(cluster, None, rng).await else { return missed("no agent was at work") };
    let subject = ResultSubject { agent: FORGER.parse().context("a forger's name")?, sector: held.sector };
    for bytes in [&b"\xff\x00{"[..], b"{}", b"{\"v\":1,\"sector\":7}", b"{\"v\":99}"] {
        publish(cluster, subject.to_string(), bytes.to_vec()).await?;
    }
    hit("RESULTS", format!("{held}, bytes that are no result"), Recovery::Nothing)
}

/// A proof that verifies, for another sector.
async fn proof_of_another(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let found = until(TARGET_MAX, || {
        let sectors = cluster.view.sectors();
        let proof: ProofBytes = sectors.iter().find_map(|record| match &record.state {
            SectorState::C2Done { proof, .. } | SectorState::ProveCommitSent { proof, .. } => Some(proof.clone()),
            _ => None,
        })?;
        let record = sectors.iter().find(|record| matches!(record.state, SectorState::C1Done { .. }))?;
        Some((record.clone(), proof))
    });
    let Some((record, proof)) = found.await else { return missed("no two sectors were near") };
    let key = format!("{}.{}", record.id.key(), Stage::C2);
    let Some(held) = cluster.view.claim(&key).and_then(|claim| Held::of(&key, &claim)) else {
        return missed("its C2 was not claimed");
    };
    let claim = ClaimRef {
        attempt: held.claim.attempt,
        fence: 0,
        generation: held.claim.generation,
        incarnation: held.claim.incarnation,
    };
    send(cluster, &held, &record, Facts::C2 { proof }, claim).await?;
    hit("RESULTS", format!("{held}, with a proof of another sector"), Recovery::Nothing)
}

/// Whether a record believes something forged.
pub(in crate::faults) fn is_believed(record: &SectorRecord) -> bool {
    encode(record).is_ok_and(|text| {
        let forged = serde_json::to_string(&FORGED).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(forged.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forged_can_be_found_in_a_text() {
        let text = serde_json::to_string(&FORGED).unwrap();
        assert!(text.trim_matches('"').len() > 40, "{text}");
    }
}
