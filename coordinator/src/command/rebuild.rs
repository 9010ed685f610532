//! `coordinator rebuild` and `coordinator restore`: what a person runs when the queue was lost.

use std::{path::Path, sync::Arc, time::Duration};

use chain::{ChainApi, api::NetworkParams, policy::NetworkPolicy};
use host::{
    clock::{Clock, SystemClock},
    exit::{CliError, Exit},
};
use streams::{id::Timestamp, lease::Lease, nats::Nats};
use tokio::time::Instant;

use crate::{
    app::{connect, create_layout, lives, open_chain, policy_of, sender_config, unavailable},
    backup::{self, RestoreError},
    cli,
    config::Config,
    incarnation::{Lives, RESTORED},
    leader::{LEASE, until_lost},
    miners::Miners,
    rebuild::{GatherError, Options, PoolError, Rebuild, RebuildError, Report},
};

/// Nobody is to take over from a rebuild within seconds: a slow disk may hold it up for longer than a leader's lease.
const LEASE_TTL: Duration = Duration::from_secs(15);
/// How long the lease is waited for: that of a leader, or of a rebuild, that died ends by itself.
const LEASE_WAIT: Duration = LEASE_TTL.saturating_add(Duration::from_secs(5));
const LEASE_LOOK: Duration = Duration::from_millis(500);

/// A rebuild, with the queue kept from everybody else.
struct Alone<'a> {
    config: &'a Config,
    data: &'a Path,
    nats: Nats,
    chain: Arc<dyn ChainApi>,
    network: NetworkParams,
    policy: NetworkPolicy,
    lives: Lives,
    clock: Arc<dyn Clock>,
    lease: Lease,
}

/// `coordinator rebuild`.
pub(crate) async fn rebuild(config: &Config, data: &Path, args: &cli::Rebuild) -> Result<Report, CliError> {
    let alone = Box::pin(Alone::new(config, data)).await?;
    let options = options(&args.patience, args.dry_run, "rebuilt from stores and chain".to_owned());
    alone.work(Box::pin(alone.rebuild(options))).await
}

/// `coordinator restore`.
pub(crate) async fn restore(config: &Config, data: &Path, args: &cli::Restore) -> Result<Report, CliError> {
    let alone = Box::pin(Alone::new(config, data)).await?;
    let work = async {
        let memory = &alone.lives.memory;
        let now = Timestamp(alone.clock.now_unix_ms());
        let restored = backup::restore(&alone.nats, &args.dir, memory, &alone.network.name, args.replace, now)
            .await
            .map_err(failed)?;
        // What the backup did not hold is made anew.
        create_layout(&alone.nats, config).await?;
        let because = format!("{RESTORED} taken in incarnation {}", restored.life.incarnation);
        alone.rebuild(options(&args.patience, false, because)).await
    };
    alone.work(Box::pin(work)).await
}

fn options(args: &cli::Patience, dry_run: bool, because: String) -> Options {
    Options {
        without: args.without.iter().cloned().collect(),
        wait: args.wait,
        pool_wait: args.pool_wait,
        dry_run,
        because,
    }
}

impl<'a> Alone<'a> {
    /// Connects, makes what is missing of the layout, and takes the lease, so that no coordinator leads meanwhile.
    async fn new(config: &'a Config, data: &'a Path) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        host::durable::create_dir_all(data)
            .map_err(|e| CliError::new(Exit::Io, format!("create {}", data.display())).because(e))?;
        let nats = connect(config, "coordinator-rebuild").await?;
        let (chain, network) = open_chain(config).await?;
        let policy = policy_of(config, &network)?;
        let lives = lives(&nats, data, &network, &clock)?;
        create_layout(&nats, config).await?;
        let holder = format!("rebuild-{}", uuid::Uuid::new_v4().simple());
        let started = Instant::now();
        let lease = loop {
            match Lease::try_take(&nats, LEASE, &holder, LEASE_TTL).await {
                Ok(Some(lease)) => break lease,
                Ok(None) if started.elapsed() < LEASE_WAIT => tokio::time::sleep(LEASE_LOOK).await,
                Ok(None) => {
                    return Err(CliError::new(Exit::Busy, "a coordinator leads").hint(
                        "its queue is not lost; if you mean to rebuild it all the same, stop every coordinator",
                    ));
                }
                Err(error) => return Err(unavailable("take the lease", error)),
            }
        };
        Ok(Self { config, data, nats, chain, network, policy, lives, clock, lease })
    }

    async fn rebuild(&self, options: Options) -> Result<Report, CliError> {
        let sender = sender_config(self.config, &self.policy);
        let (chain, clock) = (Arc::clone(&self.chain), Arc::clone(&self.clock));
        let miners = Miners::open(self.nats.clone(), chain, clock, self.config, sender, self.data).await?;
        let rebuild = Rebuild {
            nats: self.nats.clone(),
            chain: Arc::clone(&self.chain),
            miners: Arc::new(miners),
            policy: self.policy.clone(),
            network: self.network.name.clone(),
            memory: Arc::clone(&self.lives.memory),
            clock: Arc::clone(&self.clock),
            options,
        };
        rebuild.run().await.map_err(|error| {
            let (exit, hint) = advice(&error);
            let cli = CliError::new(exit, "rebuild the queue").because(error);
            match hint {
                Some(hint) => cli.hint(hint),
                None => cli,
            }
        })
    }

    /// Works for as long as the lease is ours, and gives it back.
    async fn work(&self, work: impl Future<Output = Result<Report, CliError>>) -> Result<Report, CliError> {
        let done = tokio::select! {
            done = work => done,
            () = until_lost(&self.lease, LEASE_TTL) => {
                Err(CliError::new(Exit::Busy, "the lease was lost: the queue was away, or another took it")
                    .hint("run it again: it goes on where it was"))
            }
        };
        if let Err(error) = self.lease.release().await {
            tracing::debug!("release the lease: {error}");
        }
        done
    }
}

/// The exit code of an error, and what a person can do.
fn advice(error: &RebuildError) -> (Exit, Option<String>) {
    match error {
        RebuildError::Gather(GatherError::Silent { silent, .. }) => {
            let without: Vec<String> = silent.keys().map(|agent| format!("--without {agent}")).collect();
            let hint = format!("start them, give them more time with --wait, or go on with {}", without.join(" "));
            (Exit::Unavailable, Some(hint))
        }
        RebuildError::Gather(GatherError::Nobody(_)) => {
            (Exit::Unavailable, Some("start the agents: their stores are what the queue is rebuilt from".to_owned()))
        }
        RebuildError::Pool(PoolError::Waiting { .. }) => {
            let hint = "wait until they land, or replace them with the node's own tools; then run it again";
            (Exit::Busy, Some(hint.to_owned()))
        }
        RebuildError::WrongNetwork { .. } => {
            (Exit::Refused, Some("correct chain.api or nats.url in coordinator.toml".to_owned()))
        }
        RebuildError::Write(_) => (Exit::Unavailable, Some("run it again: it goes on where it was".to_owned())),
        RebuildError::Memory(_) => (Exit::Io, None),
        RebuildError::Pool(_)
        | RebuildError::Gather(_)
        | RebuildError::Chain(_)
        | RebuildError::Head(_)
        | RebuildError::Queue(_) => (Exit::Unavailable, None),
    }
}

fn failed(error: RestoreError) -> CliError {
    let (exit, hint) = match &error {
        RestoreError::NotEmpty(_) => {
            (Exit::Refused, Some("say --replace if the backup is to take the place of what is there"))
        }
        RestoreError::WrongNetwork { .. } => (Exit::Refused, None),
        RestoreError::Corrupt { .. } => (Exit::Data, Some("see `coordinator backup list` for others")),
        RestoreError::Backup(_) => (Exit::NotFound, Some("see `coordinator backup list`")),
        RestoreError::Queue(_) | RestoreError::Changed => {
            (Exit::Unavailable, Some("run it again with --replace: it was begun"))
        }
        RestoreError::Memory(_) => (Exit::Io, None),
    };
    let cli = CliError::new(exit, "restore the queue").because(error);
    match hint {
        Some(hint) => cli.hint(hint),
        None => cli,
    }
}
