//! One script on one queue, with what came of each operation in words that both queues can say.

use std::{collections::BTreeMap, time::Duration};

use streams::{
    id::{Incarnation, MinerId, Place, SectorId},
    kv::{Bucket, BucketName, CasError, Change, Watch},
    layout::ensure_class,
    lease::Lease,
    message::{PostTask, PostWork, Task},
    nats::{Nats, Published},
    proof::{Bytes32, SealProof},
    pull::{Delivery, Puller},
    records::{LeaseHeld, SectorLock},
    report::{consumer_report, task_pointers},
    stage::{Class, Stage},
    subject::{PostSubject, TaskSubject, Whither},
};

use crate::script::{LONG_PAUSE, Op, SHORT_PAUSE, Script};

/// How long "nothing comes" is watched for.
const A_MOMENT: Duration = Duration::from_millis(100);
/// The same for a watch, which has no answer of the server's to wait for.
const QUIET: Duration = Duration::from_millis(300);
const LEASE_TTL: Duration = Duration::from_secs(5);
const POST_TTL: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_millis(700);

/// What one script holds, apart from all others by its miner and its place.
struct Player {
    nats: Nats,
    miner: MinerId,
    place: Place,
    io: Puller,
    post: Puller,
    locks: Bucket<SectorLock>,
    leases: Bucket<LeaseHeld>,
    deliveries: Vec<Delivery>,
    /// Revisions as they came: both queues count them alike.
    revisions: Vec<u64>,
    watch: Option<Watch<SectorLock>>,
    held: BTreeMap<u64, Lease>,
}

pub(crate) async fn play(nats: &Nats, script: &Script, ack_wait: Duration) -> Vec<String> {
    let place: Place = format!("p{}", script.seed).parse().unwrap();
    let whither = Whither::At(place.clone());
    for class in [Class::Io, Class::PostIo] {
        ensure_class(nats, class, &whither, ack_wait).await.unwrap();
    }
    let mut player = Player {
        nats: nats.clone(),
        miner: MinerId(10_000 + script.seed),
        place,
        io: Puller::open(nats, Class::Io, &whither).await.unwrap(),
        post: Puller::open(nats, Class::PostIo, &whither).await.unwrap(),
        locks: Bucket::open(nats, BucketName::Locks).await.unwrap(),
        leases: Bucket::open(nats, BucketName::Leases).await.unwrap(),
        deliveries: Vec::new(),
        revisions: Vec::new(),
        watch: None,
        held: BTreeMap::new(),
    };
    let mut answers = Vec::new();
    for op in &script.ops {
        answers.push(player.act(*op).await);
    }
    answers
}

impl Player {
    async fn act(&mut self, op: Op) -> String {
        match op {
            Op::Publish { .. } | Op::PublishPost { .. } | Op::Counts | Op::Pointers => self.queue(op).await,
            Op::Pull => self.pull(false).await,
            Op::PullPost => self.pull(true).await,
            Op::Ack { back } | Op::Term { back } | Op::Progress { back } | Op::Nak { back, .. } => {
                self.settle(op, back).await
            }
            Op::Create { .. }
            | Op::Update { .. }
            | Op::Put { .. }
            | Op::Delete { .. }
            | Op::DeleteIf { .. }
            | Op::Get { .. }
            | Op::Entries
            | Op::Keys => self.bucket(op).await,
            Op::Watch => {
                let watch = self.locks.watch(&format!("{}.*", self.miner)).await.unwrap();
                let current = watch.is_current();
                self.watch = Some(watch);
                format!("watching, nothing to read {current}")
            }
            Op::Watched => self.watched().await,
            Op::TakeLease { .. } | Op::Renew { .. } | Op::Release { .. } | Op::LeaseKeys => self.lease(op).await,
            Op::PauseShort => pause(SHORT_PAUSE).await,
            Op::PauseLong => pause(LONG_PAUSE).await,
        }
    }

    fn sector(&self, number: u64) -> SectorId {
        format!("{}/{number}", self.miner).parse().unwrap()
    }

    async fn queue(&mut self, op: Op) -> String {
        match op {
            Op::Publish { task } => {
                let (sector, stage) = (self.sector(task), Stage::AddPiece);
                let subject = TaskSubject { whither: Whither::At(self.place.clone()), sector, stage };
                published(self.nats.publish_task(&subject, &Task { sector, stage, unseal: None }).await.unwrap())
            }
            Op::PublishPost { task } => {
                let subject = PostSubject {
                    class: Class::PostIo,
                    whither: Whither::At(self.place.clone()),
                    miner: self.miner,
                    open: 100,
                    partition: task,
                    attempt: 1,
                };
                let work = PostWork::Vanilla { sectors: Vec::new(), order: Vec::new() };
                let task = PostTask {
                    miner: self.miner,
                    deadline: 3,
                    open: 100,
                    close: 160,
                    partition: task,
                    attempt: 1,
                    proof: SealProof::Drg2KiBV1_1,
                    randomness: Bytes32([1; 32]),
                    work,
                };
                published(self.nats.publish_post_task(&subject, &task, POST_TTL).await.unwrap())
            }
            Op::Counts => {
                // The server counts what is queued a moment after it acknowledged the publish.
                tokio::time::sleep(QUIET).await;
                let rows = consumer_report(&self.nats, "TASKS").await.unwrap();
                let name = format!("io_{}", self.place);
                let row = rows.into_iter().find(|row| row.consumer == name).unwrap();
                format!(
                    "out {} again {} queued {} waiting {}",
                    row.ack_pending, row.redelivered, row.unprocessed, row.waiting
                )
            }
            _ => {
                let pointers = task_pointers(&self.nats).await.unwrap();
                let ours = pointers.iter().filter(|pointer| pointer.sector.miner == self.miner);
                format!("{:?}", ours.map(ToString::to_string).collect::<Vec<_>>())
            }
        }
    }

    async fn pull(&mut self, post: bool) -> String {
        let puller = if post { &self.post } else { &self.io };
        match puller.next(A_MOMENT).await.unwrap() {
            Some(delivery) => {
                let words = format!("{} for the {} time", delivery.subject(), delivery.delivered());
                self.deliveries.push(delivery);
                words
            }
            None => "nothing".to_owned(),
        }
    }

    async fn settle(&self, op: Op, back: usize) -> String {
        let Some(delivery) = self.deliveries.iter().rev().nth(back) else { return "none".to_owned() };
        let settled = match op {
            Op::Ack { .. } => delivery.ack().await,
            Op::Term { .. } => delivery.term("a test says so").await,
            Op::Progress { .. } => delivery.progress().await,
            Op::Nak { delayed, .. } => delivery.nak(delayed.then_some(DELAY)).await,
            other => panic!("{other:?} settles nothing"),
        };
        format!("{settled:?}")
    }

    async fn bucket(&mut self, op: Op) -> String {
        let key = |key: u64| format!("{}.{key}", self.miner);
        let named = |back: usize| self.revisions.iter().rev().nth(back).copied().unwrap_or(0);
        let filter = format!("{}.*", self.miner);
        let written = match op {
            Op::Create { key: k, value } => self.locks.create(&key(k), &self.lock(value)).await,
            Op::Update { key: k, value, back } => self.locks.update(&key(k), &self.lock(value), named(back)).await,
            Op::Put { key: k, value } => Ok(self.locks.put(&key(k), &self.lock(value)).await.unwrap()),
            Op::Delete { key: k } => return format!("{:?}", self.locks.delete(&key(k)).await),
            Op::DeleteIf { key: k, back } => {
                return match self.locks.delete_if(&key(k), named(back)).await {
                    Ok(()) => "deleted".to_owned(),
                    Err(error) => error.is_lost().to_string(),
                };
            }
            Op::Get { key: k } => {
                let entry = self.locks.get(&key(k)).await.unwrap();
                return entry.map_or_else(|| "no value".to_owned(), |entry| self.shown(entry.revision, &entry.value));
            }
            Op::Entries => {
                let entries = self.locks.entries(&filter).await.unwrap();
                let shown = entries.iter().map(|e| format!("{} {}", e.key, self.shown(e.revision, &e.value)));
                return shown.collect::<Vec<_>>().join("; ");
            }
            _ => return self.locks.keys(&filter).await.unwrap().join(" "),
        };
        match written {
            Ok(revision) => {
                self.revisions.push(revision);
                format!("written as {}", self.revisions.len())
            }
            Err(CasError::Lost { .. }) => "lost".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    fn lock(&self, generation: u32) -> SectorLock {
        let agent = "a".parse().unwrap();
        SectorLock { place: self.place.clone(), agent, generation, incarnation: Incarnation::FIRST }
    }

    fn shown(&self, revision: u64, value: &SectorLock) -> String {
        let which = self.revisions.iter().position(|known| *known == revision);
        format!("{} as {which:?}", value.generation)
    }

    /// Reads until nothing comes for a moment. A watch coalesces, so only what it says last of each key counts.
    async fn watched(&mut self) -> String {
        let Some(watch) = &mut self.watch else { return "no watch".to_owned() };
        let mut last = BTreeMap::new();
        while let Ok(change) = tokio::time::timeout(QUIET, watch.next()).await {
            match change.unwrap() {
                Change::Put(entry) => last.insert(entry.key, Some((entry.revision, entry.value))),
                Change::Gone { key } => last.insert(key, None),
            };
        }
        let current = watch.is_current();
        let shown: Vec<String> = last
            .iter()
            .map(|(key, value)| match value {
                Some((revision, value)) => format!("{key} {}", self.shown(*revision, value)),
                None => format!("{key} gone"),
            })
            .collect();
        format!("{shown:?}, current {current}")
    }

    async fn lease(&mut self, op: Op) -> String {
        let key = format!("poster.{}.100", self.miner);
        match op {
            Op::TakeLease { holder } => {
                let name = format!("holder-{holder}");
                let taken = Lease::try_take(&self.nats, &key, &name, LEASE_TTL).await.unwrap();
                let words = format!("taken {}", taken.is_some());
                if let Some(lease) = taken {
                    self.held.insert(holder, lease);
                }
                words
            }
            Op::Renew { holder } => match self.held.get(&holder) {
                Some(lease) => format!("renewed {}", lease.renew().await.unwrap()),
                None => "none".to_owned(),
            },
            Op::Release { holder } => match self.held.remove(&holder) {
                Some(lease) => format!("{:?}", lease.release().await),
                None => "none".to_owned(),
            },
            _ => format!("{:?}", self.leases.keys(&key).await.unwrap()),
        }
    }
}

fn published(published: Published) -> String {
    match published {
        Published::New { .. } => "new".to_owned(),
        Published::AlreadyQueued => "queued already".to_owned(),
    }
}

async fn pause(time: Duration) -> String {
    tokio::time::sleep(time).await;
    "waited".to_owned()
}
