//! One window at work: facts are gathered, a plan is made, the plan is carried out.
//!
//! A failure of one action is logged and left to the next plan, at the next head; nothing here waits for anything but
//! an answer of the node or of the queue, both of which have limits.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chain::api::TipSet;
use host::failpoint;
use streams::{
    id::{SectorNumber, Timestamp},
    lease::Lease,
    message::{Failure, PostOutcome, PostResult, VanillaPart},
    nats::Published,
    proof::{Commitment, ProofBytes},
    records::PostRecord,
};
use tracing::{debug, error, info, warn};

use crate::{
    check::with_commitments,
    deadline::Window,
    facts::{Facts, Located, PartitionFacts, Sending, Target},
    partition::{Order, Unused},
    plan::{Action, FAILED_SENDS_MAX, Ledger, Missed, plan},
    reading::{self, MinerReading, PartitionReading, WindowReading},
    submit::Sent,
    tools::Tools,
};

/// A window, what is known of it and what was done about it.
pub(crate) struct WindowWork {
    window: Window,
    miner: MinerReading,
    ledger: Ledger,
    facts: Option<Facts>,
    lease: Option<Lease>,
    comm_rs: BTreeMap<SectorNumber, Commitment>,
    replicas: BTreeMap<SectorNumber, Vec<Located>>,
    finished: bool,
}

impl WindowWork {
    pub(crate) fn new(window: Window, miner: MinerReading) -> Self {
        Self {
            window,
            miner,
            ledger: Ledger::default(),
            facts: None,
            lease: None,
            comm_rs: BTreeMap::new(),
            replicas: BTreeMap::new(),
            finished: false,
        }
    }

    /// Nothing is left to do.
    pub(crate) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether this poster may hand out and send.
    pub(crate) fn is_leading(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_held)
    }

    /// Looks at the chain, the records and the outbox, and does what is to be done.
    pub(crate) async fn at_head(&mut self, head: &TipSet, results_drained: bool, tools: &Tools) -> anyhow::Result<()> {
        self.hold_lease(tools).await?;
        let mut facts = self.gather(head, tools).await?;
        facts.results_drained = results_drained;
        self.ledger.observe(&facts);
        self.facts = Some(facts);
        self.act(tools).await;
        Ok(())
    }

    /// Keeps the lease, or takes it when it is free.
    pub(crate) async fn hold_lease(&mut self, tools: &Tools) -> anyhow::Result<()> {
        if let Some(lease) = &self.lease {
            if lease.is_held() && lease.renew().await? {
                return Ok(());
            }
            warn!("the lease ran out");
            self.lease = None;
        }
        let key = format!("poster.{}.{}", self.window.miner, self.window.open);
        self.lease = Lease::try_take(&tools.nats, &key, &tools.holder, tools.lease_ttl).await?;
        if self.lease.is_some() {
            failpoint!("poster.window.lease-taken");
        }
        Ok(())
    }

    /// Gives the lease back, so that another poster need not wait for its end.
    pub(crate) async fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release().await
        {
            debug!("give lease back: {error:#}");
        }
        failpoint!("poster.window.lease-released");
    }

    async fn gather(&mut self, head: &TipSet, tools: &Tools) -> anyhow::Result<Facts> {
        let reading = match &self.facts {
            Some(facts) if head.height >= self.window.close => last_reading(facts),
            _ => {
                let within = reading::within(&*tools.chain, &self.window, head).await?;
                reading::window(&*tools.chain, &self.window, &within).await?
            }
        };
        let submitted = reading::submitted(&*tools.chain, &self.window, head).await?;
        let numbers: BTreeSet<_> = reading.partitions.values().flat_map(|p| p.to_prove.iter().copied()).collect();
        self.learn_sectors(&numbers, head, tools).await?;
        let mut records = tools.posts.of(&self.window).await?;
        let mut partitions = BTreeMap::new();
        for (index, partition) in &reading.partitions {
            let record = records.remove(index).map(|entry| entry.value);
            let sending = match &record {
                Some(record) => tools.submitter.fate(record).await?,
                None => Sending::Unsent,
            };
            let to_prove =
                partition.to_prove.iter().filter_map(|number| Some((*number, self.target(*number)?))).collect();
            let facts = PartitionFacts {
                to_prove,
                faulty: partition.faulty,
                submitted: submitted.contains(index),
                record,
                sending,
            };
            partitions.insert(*index, facts);
        }
        Ok(Facts {
            head: head.height,
            window: self.window,
            randomness: reading.randomness,
            proof: self.miner.proof,
            partition_sectors: self.miner.partition_sectors,
            partitions,
            leading: self.is_leading(),
            results_drained: false,
        })
    }

    /// Commitments from the chain, once; replicas from the records, until there is one.
    async fn learn_sectors(
        &mut self,
        numbers: &BTreeSet<SectorNumber>,
        head: &TipSet,
        tools: &Tools,
    ) -> anyhow::Result<()> {
        let unknown = numbers.iter().copied().filter(|number| !self.comm_rs.contains_key(number)).collect();
        self.comm_rs.extend(reading::commitments(&*tools.chain, self.window.miner, &unknown, head).await?);
        let homeless =
            numbers.iter().copied().filter(|number| self.replicas.get(number).is_none_or(Vec::is_empty)).collect();
        self.replicas.extend(tools.replicas.find(self.window.miner, &homeless).await?);
        Ok(())
    }

    fn target(&self, number: SectorNumber) -> Option<Target> {
        let comm_r = *self.comm_rs.get(&number)?;
        Some(Target { comm_r, replicas: self.replicas.get(&number).cloned().unwrap_or_default() })
    }

    /// Makes a plan from the facts at hand and carries it out.
    async fn act(&mut self, tools: &Tools) {
        let Some(facts) = &self.facts else { return };
        for action in plan(facts, &self.ledger, &tools.policy) {
            let what = format!("{action:?}");
            if let Err(error) = self.carry_out(action, tools).await {
                warn!("{error:#}");
                debug!("left to the next head: {what}");
            }
        }
    }

    async fn carry_out(&mut self, action: Action, tools: &Tools) -> anyhow::Result<()> {
        let Some(facts) = &mut self.facts else { return Ok(()) };
        match action {
            Action::HandOut { partition, attempt, order } => {
                tools.desk.publish(facts, partition, attempt, &order).await?;
                failpoint!("poster.window.task-published");
                tell_handed_out(partition, attempt, &order);
                self.ledger.work(partition).handed_out(attempt, order, facts.head);
            }
            Action::Reoffer { partition, attempt, order } => {
                let published = tools.desk.publish(facts, partition, attempt, &order).await?;
                failpoint!("poster.window.task-offered-again");
                if matches!(published, Published::New { .. }) {
                    warn!(partition, attempt, "a task was lost and is handed out again");
                }
            }
            Action::Submit { partitions } => return self.submit(partitions, tools).await,
            Action::SendAgain { partition, exit_code } => {
                amend(facts, partition, tools, |record| record.message = None).await?;
                failpoint!("poster.window.message-forgotten");
                // Said once: results that arrive before the next head must not count the same failure again.
                if let Some(known) = facts.partitions.get_mut(&partition) {
                    known.sending = Sending::Unsent;
                }
                let work = self.ledger.work(partition);
                work.failed_sends = work.failed_sends.saturating_add(u32::from(exit_code.is_some()));
                let sends = work.failed_sends;
                warn!(partition, exit_code, "the message did not prove the partition on chain");
                if sends == FAILED_SENDS_MAX {
                    error!(
                        partition,
                        sends, "no further message is sent for this partition: each one failed and cost gas"
                    );
                }
            }
            Action::Landed { partition, epoch } => {
                amend(facts, partition, tools, |record| record.landed_at = Some(epoch)).await?;
                failpoint!("poster.window.landing-noted");
                info!(partition, epoch, "proven on chain");
            }
            Action::Missed { partitions } => {
                for missed in &partitions {
                    self.ledger.work(missed.partition).given_up = true;
                }
                tell_missed(&self.window, facts, &partitions);
            }
            Action::Finish => self.finished = true,
        }
        Ok(())
    }

    async fn submit(&mut self, partitions: Vec<u64>, tools: &Tools) -> anyhow::Result<()> {
        // The lease may have run out while the proof was verified: then the other poster sends.
        if !self.is_leading() {
            return Ok(());
        }
        let Some(facts) = &mut self.facts else { return Ok(()) };
        let apart = match tools.submitter.submit(facts, &partitions).await? {
            Sent::As(message) => {
                info!(?partitions, nonce = message.nonce, sender = %message.sender, "proof sent");
                for (index, partition) in &mut facts.partitions {
                    if partitions.contains(index) {
                        partition.sending = Sending::InFlight;
                    }
                }
                return Ok(());
            }
            Sent::AlreadyThere => {
                info!(?partitions, "the chain has a proof already");
                return Ok(());
            }
            Sent::Apart => partitions,
        };
        warn!(partitions = ?apart, "proofs cannot share a message and are sent apart");
        for partition in apart {
            if tools.submitter.submit(facts, &[partition]).await? != Sent::Apart
                && let Some(partition) = facts.partitions.get_mut(&partition)
            {
                partition.sending = Sending::InFlight;
            }
        }
        Ok(())
    }

    /// Takes in a result and does at once what it makes possible.
    pub(crate) async fn take(&mut self, result: PostResult, tools: &Tools) -> anyhow::Result<()> {
        failpoint!("poster.window.result-taken");
        let facts = self.facts.as_mut().context("the window was not looked at yet")?;
        facts.results_drained = false;
        let (partition, attempt, head) = (result.partition, result.attempt, facts.head);
        let proven = facts.partitions.get(&partition).is_some_and(|p| p.proof_for(&facts.randomness).is_some());
        if proven || !facts.partitions.contains_key(&partition) {
            debug!(partition, attempt, agent = %result.agent, "result not used: the partition is proven, or has nothing to prove");
            return Ok(());
        }
        let taken = match result.outcome {
            PostOutcome::Vanilla { artifact, proven, bad } => {
                for (sector, reason) in &bad {
                    warn!(partition, sector = sector.0, place = %result.place, "sector cannot be read: {reason}");
                }
                let part = VanillaPart { artifact, sectors: proven };
                self.ledger.work(partition).vanilla_came(attempt, &result.place, part, &bad)
            }
            PostOutcome::Snark { proof } => self.take_proof(partition, attempt, proof, tools).await?,
            PostOutcome::Failed { failure } => {
                let Failure { code, message, .. } = failure;
                warn!(partition, attempt, agent = %result.agent, code, "task failed: {message}");
                self.ledger.work(partition).failed(attempt, head)
            }
        };
        if let Err(unused) = taken {
            debug!(partition, attempt, agent = %result.agent, "result not used: {unused}");
        }
        self.act(tools).await;
        Ok(())
    }

    /// Stores a proof if it is one. A proof that another run of the poster asked for is tried as one of all sectors.
    async fn take_proof(
        &mut self,
        partition: u64,
        attempt: u32,
        proof: ProofBytes,
        tools: &Tools,
    ) -> anyhow::Result<Result<(), Unused>> {
        let Some(facts) = &mut self.facts else { return Ok(Ok(())) };
        let work = self.ledger.work(partition);
        let Some(known) = facts.partitions.get_mut(&partition) else { return Ok(Ok(())) };
        let asked = work.snark_sectors(attempt);
        let proven = asked.clone().unwrap_or_else(|| known.to_prove.keys().copied().collect());
        let skipped = work.skipped(known, &proven);
        let Some(sectors) = with_commitments(facts, partition, &proven) else {
            return Ok(Err(Unused::AnswersAnother(attempt)));
        };
        if !tools.checker.proves(facts, sectors, proof.clone()).await? {
            if asked.is_some() {
                error!(partition, attempt, "the proof does not verify and is thrown away");
            }
            return Ok(work.failed(attempt, facts.head));
        }
        let record = PostRecord {
            miner: self.window.miner,
            deadline: self.window.deadline,
            open: self.window.open,
            close: self.window.close,
            partition,
            randomness: facts.randomness,
            proven,
            skipped,
            proof,
            proved_at: Timestamp(tools.clock.now_unix_ms()),
            message: None,
            landed_at: None,
        };
        failpoint!("poster.window.proof-verified");
        tools.posts.store(&record).await?;
        failpoint!("poster.window.proof-stored");
        info!(partition, attempt, sectors = record.proven.len(), skipped = record.skipped.len(), "proven and verified");
        if let Some(known) = facts.partitions.get_mut(&partition) {
            known.record = Some(record);
            known.sending = Sending::Unsent;
        }
        Ok(Ok(()))
    }
}

/// What was read before the close: the chain's state is about the deadline's next window by now.
fn last_reading(facts: &Facts) -> WindowReading {
    let reading = |partition: &PartitionFacts| PartitionReading {
        to_prove: partition.to_prove.keys().copied().collect(),
        faulty: partition.faulty,
    };
    let partitions = facts.partitions.iter().map(|(index, partition)| (*index, reading(partition))).collect();
    WindowReading { randomness: facts.randomness, partitions }
}

async fn amend(
    facts: &mut Facts,
    partition: u64,
    tools: &Tools,
    change: impl FnOnce(&mut PostRecord),
) -> anyhow::Result<()> {
    let Some(known) = facts.partitions.get_mut(&partition) else { return Ok(()) };
    let Some(record) = &known.record else { return Ok(()) };
    if let Some(amended) = tools.posts.amend(record, change).await? {
        known.record = Some(amended);
    }
    Ok(())
}

fn tell_handed_out(partition: u64, attempt: u32, order: &Order) {
    match order {
        Order::Vanilla { place, sectors } => {
            info!(partition, attempt, %place, sectors = sectors.len(), "vanilla proofs asked for");
        }
        Order::Snark { sectors, vanilla } => {
            info!(partition, attempt, sectors = sectors.len(), parts = vanilla.len(), "SNARK asked for");
        }
    }
}

fn tell_missed(window: &Window, facts: &Facts, partitions: &[Missed]) {
    let sectors: usize = partitions.iter().map(|missed| missed.sectors).sum();
    let list: Vec<_> = partitions
        .iter()
        .map(|m| format!("{} ({} sectors, reached: {:?})", m.partition, m.sectors, m.reached))
        .collect();
    error!(
        miner = %window.miner,
        deadline = window.deadline,
        open = window.open,
        close = window.close,
        missed = partitions.len(),
        of = facts.partitions.len(),
        sectors,
        "deadline passed unproven: partitions {}",
        list.join(", ")
    );
}
