//! What most tests begin with.

use std::time::Duration;

use streams::{
    id::{AgentId, Incarnation, Place, SectorId, Timestamp},
    layout::ensure_class,
    message::{ClaimRef, Facts, Outcome, Task, TaskResult},
    nats::Nats,
    pull::Puller,
    stage::{Class, Stage},
    subject::{TaskSubject, Whither},
    testing::TestServer,
};

/// Short, so that a killed consumer's task comes back within a test.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(1);
/// Long enough for a loaded machine: nothing waits this long unless it fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How long "nothing comes" is watched for.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(300);

pub(crate) async fn server() -> (TestServer, Nats) {
    server_with(ACK_WAIT).await
}

pub(crate) async fn server_with(ack_wait: Duration) -> (TestServer, Nats) {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(ack_wait).await;
    (server, nats)
}

pub(crate) fn place() -> Place {
    "host1".parse().unwrap()
}

pub(crate) fn agent() -> AgentId {
    "host1-gpu".parse().unwrap()
}

pub(crate) fn sector(number: u64) -> SectorId {
    format!("f01000/{number}").parse().unwrap()
}

/// A pointer to PC2 of a sector at our place.
pub(crate) fn pc2(number: u64) -> (TaskSubject, Task) {
    let (sector, stage) = (sector(number), Stage::Pc2);
    (TaskSubject { whither: Whither::At(place()), sector, stage }, Task { sector, stage, unseal: None })
}

pub(crate) async fn pc2_puller(nats: &Nats, ack_wait: Duration) -> Puller {
    let whither = Whither::At(place());
    ensure_class(nats, Class::Pc2Gpu, &whither, ack_wait).await.unwrap();
    Puller::open(nats, Class::Pc2Gpu, &whither).await.unwrap()
}

pub(crate) fn result(number: u64) -> TaskResult {
    TaskResult {
        sector: sector(number),
        stage: Stage::Pc1,
        agent: agent(),
        place: place(),
        claim: ClaimRef { attempt: 1, fence: 42, generation: 1, incarnation: Incarnation::FIRST },
        started_at: Timestamp(1),
        ended_at: Timestamp(2),
        outcome: Outcome::Done { facts: Facts::Pc1 {} },
    }
}
