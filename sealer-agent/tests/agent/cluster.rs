//! The queue, and the coordinator's side of it.

use std::{future::Future, time::Duration};

use host::tasks::Tasks;
use prover::piece_commitment;
use sha2::{Digest as _, Sha256};
use streams::{
    control::TicketRequest,
    id::{Incarnation, SectorId, StoreId, Timestamp},
    kv::{Bucket, BucketName},
    message::{Facts, Outcome, Task, TaskResult, UnsealOrder, decode},
    nats::Nats,
    proof::{Bytes32, Drawn, SealProof},
    pull::Intake,
    records::{AgentRecord, Claim},
    sector::{Piece, Placement, SectorRecord, SectorState},
    stage::Stage,
    subject::{TaskSubject, Whither},
    testing::TestServer,
};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const PROOF: SealProof = SealProof::Drg2KiBV1_1;

/// A server with the layout, and the truth.
pub(crate) struct Cluster {
    pub(crate) server: TestServer,
    pub(crate) nats: Nats,
    pub(crate) sectors: Bucket<SectorRecord>,
    pub(crate) claims: Bucket<Claim>,
    pub(crate) agents: Bucket<AgentRecord>,
    results: Intake,
    /// Answers for tickets.
    desk: Tasks,
}

impl Cluster {
    pub(crate) async fn start(ack_wait: Duration) -> Self {
        let server = TestServer::start().await;
        let nats = server.connect_with_layout(ack_wait).await;
        let sectors = Bucket::open(&nats, BucketName::Sectors).await.unwrap();
        let desk = Tasks::new();
        desk.spawn("tickets", answer_tickets(nats.clone(), sectors.clone()));
        Self {
            sectors,
            claims: Bucket::open(&nats, BucketName::Claims).await.unwrap(),
            agents: Bucket::open(&nats, BucketName::Agents).await.unwrap(),
            results: Intake::results(&nats).await.unwrap(),
            server,
            nats,
            desk,
        }
    }

    /// A sector in a state, without a task.
    pub(crate) async fn set(&self, record: &SectorRecord) {
        self.sectors.put(&record.id.key(), record).await.unwrap();
    }

    /// Publishes the task of a stage.
    pub(crate) async fn order(&self, sector: SectorId, stage: Stage, unseal: Option<UnsealOrder>) {
        let whither = if stage.is_bound() { Whither::At("here".parse().unwrap()) } else { Whither::Any };
        let task = Task { sector, stage, unseal };
        self.nats.publish_task(&TaskSubject { whither, sector, stage }, &task).await.unwrap();
    }

    /// The next result.
    pub(crate) async fn result(&self) -> TaskResult {
        let delivery = self.results.next(LIMIT).await.unwrap().expect("no result within the limit");
        let result = decode(delivery.payload()).unwrap();
        delivery.ack().await.unwrap();
        result
    }

    /// Publishes a stage's task for a sector in a state, and returns the facts it led to.
    pub(crate) async fn does(&self, record: &mut SectorRecord, stage: Stage, state: SectorState) -> Facts {
        record.state = state;
        self.set(record).await;
        self.order(record.id, stage, None).await;
        self.facts(stage).await
    }

    /// The facts of the next result, which must be a success of `stage`.
    pub(crate) async fn facts(&self, stage: Stage) -> Facts {
        let result = self.result().await;
        assert_eq!(result.stage, stage);
        match result.outcome {
            Outcome::Done { facts } => facts,
            Outcome::Failed { failure } => panic!("{stage} failed: {failure:?}"),
        }
    }

    /// Waits until a stage's claim was let go: the last thing an agent does about a task.
    pub(crate) async fn let_go(&self, sector: SectorId, stage: Stage) -> Claim {
        wait_for(async || {
            let found = self.claims.get(&format!("{}.{stage}", sector.key())).await.unwrap();
            match found {
                Some(entry) if entry.value.beat_at == Timestamp(0) => Ok(entry.value),
                other => Err(format!("claim of {stage} is {other:?}")),
            }
        })
        .await
    }

    /// Messages of a class at `here`: waiting, and delivered but not acknowledged.
    pub(crate) async fn backlog(&self, consumer: &str) -> (u64, usize) {
        // After a wipe the agent makes the consumer anew, in its own time.
        let info = wait_for(async || {
            let stream = self.nats.jetstream().get_stream("TASKS").await.map_err(|e| e.to_string())?;
            stream.consumer_info(consumer).await.map_err(|e| format!("consumer {consumer}: {e}"))
        })
        .await;
        (info.num_pending, info.num_ack_pending)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.desk.token().cancel();
    }
}

/// As the coordinator does: writes the ticket down, then answers it.
async fn answer_tickets(nats: Nats, sectors: Bucket<SectorRecord>) -> anyhow::Result<()> {
    let mut calls = nats.serve("ctl.coordinator.*").await?;
    while let Some(call) = calls.next().await {
        let request: TicketRequest = call.decode()?;
        let mut record = sectors.get(&request.sector.key()).await?.expect("a ticket for no sector").value;
        let ticket = Drawn { epoch: 100, value: Bytes32([5; 32]) };
        if let SectorState::TreeDDone { at, comm_d } = record.state {
            record.state = SectorState::Ticketed { at, comm_d, ticket };
            sectors.put(&record.id.key(), &record).await?;
        }
        call.answer(&ticket).await?;
    }
    Ok(())
}

/// A sector that was just submitted.
pub(crate) fn submitted(number: u64, pieces: Vec<Piece>) -> SectorRecord {
    SectorRecord {
        id: SectorId::from_key(&format!("f01000.{number}")).unwrap(),
        incarnation: Incarnation::FIRST,
        proof: PROOF,
        pieces,
        submitted_at: Timestamp(1),
        state: SectorState::Allocated {},
        entered_at: Timestamp(1),
        seq: 1,
        what: String::new(),
        generations_lost: 0,
        errors: vec![],
        story: vec![],
        messages: vec![],
    }
}

pub(crate) fn at(store: StoreId) -> Placement {
    Placement { place: "here".parse().unwrap(), store, generation: 1 }
}

/// A piece as the coordinator would describe `payload`.
pub(crate) fn piece(url: String, payload: &[u8]) -> Piece {
    let payload_bytes = u64::try_from(payload.len()).unwrap();
    let (commitment, padded_bytes) = piece_commitment(payload, payload_bytes).unwrap();
    let payload_sha256 = Bytes32(Sha256::digest(payload).into());
    Piece { name: "a.txt".to_owned(), url, payload_bytes, payload_sha256, padded_bytes, offset_padded: 0, commitment }
}

/// Waits until `look` finds what it looks for.
pub(crate) async fn wait_for<T, F, Fut>(look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    streams::testing::wait_for(LIMIT, look).await
}
