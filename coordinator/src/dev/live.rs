//! What a person sees while sectors are sealed: each change of state with its times, and what runs now; and the window
//! PoSts that ran meanwhile, since seals yield their cores to those.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use streams::{
    id::{SectorId, Timestamp},
    kv::{Bucket, BucketName, Change, Watch},
    nats::Nats,
    records::{AgentRecord, JobNow, JobSubject, PostRecord},
    sector::{SectorRecord, SectorState},
    stage::Class,
};

/// How often a running job is told of where no terminal can show it move.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// When something ran: from, until.
pub(super) type Ran = (Timestamp, Timestamp);

/// The live view, and the condition that ends it.
pub(super) struct Live {
    began: Instant,
    sectors: Watch<SectorRecord>,
    agents: Watch<AgentRecord>,
    posts: Watch<PostRecord>,
    seen: BTreeMap<SectorId, SectorRecord>,
    waiting: BTreeSet<SectorId>,
    now: BTreeMap<String, Vec<String>>,
    /// Window PoSt SNARKs by agent and start, with the time they were last seen at work.
    snarks: BTreeMap<(String, Timestamp), Timestamp>,
    bar: ProgressBar,
    told_at: Instant,
}

impl Live {
    pub(super) async fn new(
        nats: &Nats,
        sectors: &[SectorId],
        began: Instant,
        terminal: bool,
    ) -> Result<Self, CliError> {
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        let open = |e| CliError::new(Exit::Unavailable, "watch the cluster").because(e);
        Ok(Self {
            began,
            sectors: Bucket::open(nats, BucketName::Sectors).await.map_err(open)?.watch(">").await.map_err(open)?,
            agents: Bucket::open(nats, BucketName::Agents).await.map_err(open)?.watch(">").await.map_err(open)?,
            posts: Bucket::open(nats, BucketName::Posts).await.map_err(open)?.watch(">").await.map_err(open)?,
            seen: BTreeMap::new(),
            waiting: sectors.iter().copied().collect(),
            now: BTreeMap::new(),
            snarks: BTreeMap::new(),
            bar,
            told_at: began,
        })
    }

    /// Shows what happens until a window PoSt over each sector is on chain, and answers when PoSt SNARKs were made
    /// meanwhile. A sector that cannot get there ends it.
    pub(super) async fn until_proven(mut self) -> Result<Vec<Ran>, CliError> {
        while !self.waiting.is_empty() {
            tokio::select! {
                change = self.sectors.next() => self.sector(change.context("watch SECTORS")?)?,
                change = self.agents.next() => self.agent(change.context("watch AGENTS")?),
                change = self.posts.next() => self.post(change.context("watch POSTS")?),
            }
        }
        self.bar.finish_and_clear();
        Ok(self.snarks.into_iter().map(|((_, from), until)| (from, until)).collect())
    }

    fn sector(&mut self, change: Change<SectorRecord>) -> Result<(), CliError> {
        let Change::Put(entry) = change else { return Ok(()) };
        let record = entry.value;
        let before = self.seen.get(&record.id);
        if before.is_none_or(|b| b.state.name() != record.state.name()) {
            self.line(&format!("{:<10} {:<17} {}", record.id.to_string(), record.state.name(), detail(&record)));
        }
        for error in record.errors.iter().skip(before.map_or(0, |b| b.errors.len())) {
            self.line(&format!(
                "{:<10} {} attempt {} failed: {}",
                record.id.to_string(),
                error.stage,
                error.attempt,
                error.message
            ));
        }
        let hopeless = match &record.state {
            SectorState::Parked { reason, .. } => Some(format!("parked: {}", reason.text)),
            SectorState::Aborted { reason } => Some(format!("aborted: {reason}")),
            _ => None,
        };
        let id = record.id;
        self.seen.insert(id, record);
        match hopeless {
            Some(why) if self.waiting.contains(&id) => {
                Err(CliError::new(Exit::Failure, format!("sector {id} is {why}")))
            }
            _ => Ok(()),
        }
    }

    fn agent(&mut self, change: Change<AgentRecord>) {
        match change {
            Change::Gone { key } => {
                self.now.remove(&key);
            }
            Change::Put(entry) => {
                for job in entry.value.jobs.iter().filter(|job| is_post_snark(job)) {
                    self.snarks.insert((entry.key.clone(), job.started_at), entry.value.at);
                }
                let jobs = entry.value.jobs.iter().map(|job| {
                    let what = match &job.what {
                        JobSubject::Sector { sector, stage } => format!("{sector} {stage}"),
                        JobSubject::Partition { class, partition, .. } => format!("{class} of partition {partition}"),
                    };
                    let part = job.permille.map(|p| format!(" {}%", p / 10)).unwrap_or_default();
                    let since = entry.value.at.ms_since(job.started_at) / 1000;
                    format!("{what}: {}{part}, {since} s", job.phase)
                });
                self.now.insert(entry.key, jobs.collect());
            }
        }
        let running = self.now.values().flatten().cloned().collect::<Vec<_>>().join(" · ");
        if self.bar.is_hidden() && !running.is_empty() && self.told_at.elapsed() > TELL_EVERY {
            self.told_at = Instant::now();
            self.line(&format!("running: {running}"));
        }
        self.bar.set_message(running);
    }

    fn post(&mut self, change: Change<PostRecord>) {
        let Change::Put(entry) = change else { return };
        let post = entry.value;
        let Some(epoch) = post.landed_at else { return };
        let proven: Vec<_> = post.proven.iter().map(|number| SectorId { miner: post.miner, number: *number }).collect();
        if proven.iter().any(|id| self.waiting.contains(id)) {
            let names = proven.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let (deadline, partition) = (post.deadline, post.partition);
            self.line(&format!(
                "window PoSt over {names} is on chain: deadline {deadline}, partition {partition}, epoch {epoch}"
            ));
        }
        for id in proven {
            self.waiting.remove(&id);
        }
    }

    fn line(&self, text: &str) {
        let line = format!("[{:6.1} s] {text}", self.began.elapsed().as_secs_f64());
        self.bar.suspend(|| println!("{line}"));
    }
}

fn is_post_snark(job: &JobNow) -> bool {
    matches!(job.what, JobSubject::Partition { class: Class::PostGpu, .. })
}

/// What the last change says, in a few words.
fn detail(record: &SectorRecord) -> String {
    match &record.state {
        SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. } => {
            format!("message {} of {}", message.nonce, message.sender)
        }
        SectorState::PreCommitted { pre_commit, .. } => format!("pre-commit on chain at epoch {}", pre_commit.epoch),
        SectorState::SeedReady { seed, .. } => format!("seed of epoch {}", seed.epoch),
        SectorState::Ticketed { ticket, .. } => format!("ticket of epoch {}", ticket.epoch),
        SectorState::Proving { deadline, partition, .. } => format!("deadline {deadline}, partition {partition}"),
        SectorState::Allocated {} if record.pieces.is_empty() => "committed capacity".to_owned(),
        SectorState::Allocated {} => record.pieces.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", "),
        _ => record.story.last().map_or_else(String::new, |run| {
            let ran = Duration::from_millis(run.ended_at.ms_since(run.started_at));
            format!("{} took {:.2} s on {}", run.stage, ran.as_secs_f64(), run.agent)
        }),
    }
}
