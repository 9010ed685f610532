//! Leads while it holds the lease, and waits for it otherwise.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use chain::{ChainApi, policy::NetworkPolicy};
use host::{clock::Clock, tasks::Tasks};
use prover::Verifier;
use streams::{id::Incarnation, lease::Lease, nats::Nats};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    aside::Aside,
    attach::Attaching,
    backup::Backups,
    config::Config,
    control::Control,
    driver::{Driver, NOTES_MAX, Notes},
    head::Head,
    incarnation::{LifeError, Lives},
    miners::Miners,
    numbers::Numbers,
    onchain::{Batcher, Carrier, Waits},
    pieces::Unseals,
    reconciler::Reconciler,
    registry::Registry,
    results::Results,
    sector::Rules,
    status::Status,
    stores::LostStores,
    submission::Submission,
    succession::Successions,
    tickets::Tickets,
    unsealing::Unsealing,
    verify::Judge,
};

/// The lease's key.
pub(crate) const LEASE: &str = "coordinator";
/// How often a standby looks whether the lease is free.
const LEASE_LOOK: Duration = Duration::from_secs(1);
/// A lease is renewed so often in its time that one answer may be lost.
const RENEWALS: u32 = 4;
/// How long the tasks of a leader may take to end when it stops to lead.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What leading takes.
pub(crate) struct Leader {
    pub(crate) nats: Nats,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) policy: NetworkPolicy,
    pub(crate) network: String,
    pub(crate) lives: Lives,
    pub(crate) miners: Arc<Miners>,
    pub(crate) unseals: Arc<Unseals>,
    pub(crate) head: Head,
    pub(crate) base: String,
    pub(crate) holder: String,
    pub(crate) verifier: Arc<dyn Verifier>,
    /// The data folder.
    pub(crate) data: PathBuf,
    pub(crate) status: Arc<Status>,
    pub(crate) aside: Aside,
}

impl Leader {
    /// Takes the lease whenever it is free, and leads until it is lost.
    pub(crate) async fn run(self, service: Tasks) -> anyhow::Result<()> {
        let cancel = service.token();
        let mut told = false;
        let mut refused = String::new();
        while !cancel.is_cancelled() {
            if !self.may_lead(&mut refused).await {
                pause(LEASE_LOOK, &cancel).await;
                continue;
            }
            match Lease::try_take(&self.nats, LEASE, &self.holder, self.config.lease.ttl).await {
                Ok(Some(lease)) => {
                    told = false;
                    match self.lead(Arc::new(lease), &cancel).await {
                        Err(error) if cancel.is_cancelled() => return Err(error),
                        // Mostly the queue: it comes back, and until then there is nothing to lead.
                        Err(error) => tracing::error!("stopped leading: {error:#}"),
                        Ok(()) => {}
                    }
                }
                Ok(None) if !std::mem::replace(&mut told, true) => {
                    tracing::info!("another coordinator leads: standing by")
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("take the lease: {}", host::exit::chain(&error)),
            }
            pause(LEASE_LOOK, &cancel).await;
        }
        Ok(())
    }

    /// Whether the queue is the one that is known. Why it is not is said once.
    async fn may_lead(&self, refused: &mut String) -> bool {
        let error = match self.lives.check().await {
            Ok(_) => {
                refused.clear();
                return true;
            }
            Err(error) => error,
        };
        let hint = match &error {
            LifeError::Lost(lost) => lost.hint(&self.lives.memory),
            LifeError::Queue(error) => error.hint().unwrap_or_default(),
            LifeError::Memory(_) => String::new(),
        };
        let words = host::exit::chain(&error);
        if *refused != words {
            tracing::error!(hint, "not leading: {words}");
            *refused = words;
        }
        false
    }

    async fn lead(&self, lease: Arc<Lease>, cancel: &CancellationToken) -> anyhow::Result<()> {
        tracing::info!("leading");
        self.status.leads(true);
        host::failpoint!("coordinator.leader.lease_taken");
        let tasks = Tasks::new().drain_limit(DRAIN_MAX);
        let mut started = Ok(());
        let starting = Box::pin(async {
            match self.start(&tasks, &lease).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        });
        // The lease is renewed from the first moment: what is read at the start may take longer than it lasts.
        let lost = async {
            tokio::select! {
                biased;
                () = until_lost(&lease, self.config.lease.ttl) => {
                    tracing::warn!("the lease is lost: another coordinator may lead");
                }
                () = cancel.cancelled() => {}
                error = starting => started = Err(error),
            }
        };
        let ended = tasks.run_until(lost).await;
        self.status.leads(false);
        if let Err(error) = lease.release().await {
            tracing::debug!("release the lease: {error}");
        }
        started.context("start to lead")?;
        ended.context("lead")
    }

    async fn start(&self, tasks: &Tasks, lease: &Arc<Lease>) -> anyhow::Result<()> {
        // Again, now that the lease is ours: a rebuild held it until it was done.
        let incarnation = self.lives.check().await?;
        for sender in self.miners.senders() {
            sender.take_over().await?;
        }
        host::failpoint!("coordinator.leader.outbox_taken_over");
        let rules = Rules { attempts_max: self.config.sector.attempts_max };
        let registry = Registry::open(&self.nats, rules, Arc::clone(&self.clock)).await?;
        let (offers, offers_rx) = mpsc::channel(NOTES_MAX);
        let (follows, follows_rx) = mpsc::channel(NOTES_MAX);
        let (seeds, seeds_rx) = mpsc::channel(NOTES_MAX);
        let (successions, successions_rx) = mpsc::channel(NOTES_MAX);
        let notes = Notes { offers, follows, seeds, successions };
        let driver = Driver::new(self.nats.clone(), registry.clone(), notes, tasks.clone()).await?;
        let judge = Judge::new(Arc::clone(&self.verifier));
        let carrier = Arc::new(Carrier {
            driver: driver.clone(),
            chain: Arc::clone(&self.chain),
            miners: Arc::clone(&self.miners),
            policy: self.policy.clone(),
            life: self.config.sector.life(),
            lease: Arc::clone(lease),
            refused_once: std::sync::Mutex::default(),
        });
        let tickets = Tickets { driver: driver.clone(), chain: Arc::clone(&self.chain), policy: self.policy.clone() };
        let memory = Arc::clone(&self.lives.memory);
        let numbers = Numbers::open(&self.nats, Arc::clone(&self.chain), memory).await?;
        let stores = LostStores::open(&self.nats).await?;
        let successions = Successions { driver: driver.clone(), numbers: numbers.clone(), wanted: successions_rx };
        tasks.spawn("successions", successions.run(tasks.token()));
        let submission = Submission {
            driver: driver.clone(),
            numbers: numbers.clone(),
            miners: Arc::clone(&self.miners),
            incarnation,
        };
        let attaching = self.attaching(driver.clone(), numbers, incarnation);
        tasks.spawn("life of the queue", self.lives.clone().keep(incarnation, tasks.token()));
        let unsealing = Unsealing {
            nats: self.nats.clone(),
            registry,
            unseals: Arc::clone(&self.unseals),
            base: self.base.clone(),
        };

        let waits = Waits::new(Arc::clone(&carrier), self.head.clone(), Arc::clone(&self.status), follows_rx, seeds_rx);
        tasks.spawn("waits", waits.run(tasks.token()));
        let batcher = Batcher::new(carrier, offers_rx, self.config.batch.clone());
        tasks.spawn("batcher", batcher.run(tasks.token()));
        if let Some(backups) = Backups::of(&self.nats, &self.config.backup, &self.data, &self.lives) {
            tasks.spawn("backups", backups.run(tasks.token()));
        }
        let (unseals, aside) = (Arc::clone(&self.unseals), self.aside.clone());
        let results = Results::open(&self.nats, driver.clone(), judge, unseals, stores.clone(), aside).await?;
        tasks.spawn("results", results.run(tasks.token()));
        let wake = Arc::new(Notify::new());
        let reconciler = self.reconciler(driver.clone(), stores.clone(), Arc::clone(&wake));
        tasks.spawn("reconciler", reconciler.run(tasks.token()));
        let control = Control {
            chain: Arc::clone(&self.chain),
            driver,
            miners: Arc::clone(&self.miners),
            submission,
            attaching,
            tickets,
            unsealing,
            head: self.head.clone(),
            network: self.network.clone(),
            base: self.base.clone(),
            stores,
            reconcile: wake,
        };
        tasks.spawn("control", control.run(self.nats.clone(), tasks.clone(), tasks.token()));
        Ok(())
    }

    fn attaching(&self, driver: Driver, numbers: Numbers, incarnation: Incarnation) -> Attaching {
        Attaching { driver, chain: Arc::clone(&self.chain), miners: Arc::clone(&self.miners), numbers, incarnation }
    }

    fn reconciler(&self, driver: Driver, stores: LostStores, wake: Arc<Notify>) -> Reconciler {
        Reconciler {
            nats: self.nats.clone(),
            driver,
            chain: Arc::clone(&self.chain),
            miners: Arc::clone(&self.miners),
            policy: self.policy.clone(),
            head: self.head.clone(),
            interval: self.config.reconcile_interval,
            stores,
            host_lost_after: self.config.sector.host_lost_after,
            status: Arc::clone(&self.status),
            wake,
        }
    }
}

/// Renews the lease until it is lost. One renewal that fails is not the end: the lease outlives several.
///
/// No renewal is waited for longer than the lease is ours by our own clock: a server that does not answer must not keep
/// us believing.
pub(crate) async fn until_lost(lease: &Lease, ttl: Duration) {
    let every = ttl / RENEWALS;
    while lease.is_held() {
        tokio::time::sleep(every.min(lease.left())).await;
        match tokio::time::timeout(lease.left(), lease.renew()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!("renew the lease: {}", host::exit::chain(&error)),
        }
    }
}

async fn pause(time: Duration, cancel: &CancellationToken) {
    tokio::select! {
        biased;
        () = tokio::time::sleep(time) => {}
        () = cancel.cancelled() => {}
    }
}
