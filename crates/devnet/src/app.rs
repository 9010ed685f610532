//! Puts the program together: chain, clock, server; saves the chain at the end.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use devnet::{
    Devnet, Genesis,
    rpc::{self, Shared},
};
use host::{
    clock::{Clock as _, SystemClock},
    exit::{CliError, Exit},
    signal,
    tasks::Tasks,
};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Clock};

/// Name of the saved chain within the data folder.
const STATE_FILE: &str = "chain.state";
/// The chain is saved this often, besides after every epoch with messages and at the end.
const SAVE_EPOCHS: i64 = 60;

/// Serves a chain until a signal ends it.
pub(crate) async fn run(cli: Cli) -> Result<(), CliError> {
    let stop = signal::shutdown().map_err(|e| CliError::new(Exit::Io, "listen to signals").because(e))?;
    let listener = TcpListener::bind(cli.listen).await.map_err(|e| {
        CliError::new(Exit::Busy, format!("listen on {}", cli.listen))
            .because(e)
            .hint("another program serves there; choose another --listen, or port 0 for a free one")
    })?;
    let address =
        listener.local_addr().map_err(|e| CliError::new(Exit::Io, "read the listening address").because(e))?;
    let state_file = cli.data.as_ref().map(|folder| folder.join(STATE_FILE));
    let lock = lock(cli.data.as_deref())?;
    let mut devnet = open(&cli, state_file.as_deref())?;
    let log = cli.log.as_deref().map(open_log).transpose()?;
    devnet.log_to(log).map_err(|e| CliError::new(Exit::Io, "begin the log").because(e))?;
    let delay = Duration::from_millis(devnet.rules().row.block_delay_ms);
    let shared = Shared::new(devnet);

    let tasks = Tasks::new();
    let token = tasks.token();
    tasks.spawn("rpc server", serve(listener, shared.clone(), token.clone()));
    if cli.clock == Clock::Timed {
        tasks.spawn("clock", tick(shared.clone(), delay, state_file.clone(), token));
    }
    announce(&cli, &format!("http://{address}"))?;
    tasks.run_until(stop).await.map_err(|e| CliError::new(Exit::Failure, "a task of the devnet").because(e))?;
    if let Some(path) = state_file {
        shared
            .with(|devnet| devnet.save(&path))
            .map_err(|e| CliError::new(Exit::Io, format!("save the chain to {}", path.display())).because(e))?;
    }
    drop(lock);
    Ok(())
}

fn lock(folder: Option<&Path>) -> Result<Option<host::durable::FileLock>, CliError> {
    let Some(folder) = folder else { return Ok(None) };
    host::durable::create_dir_all(folder)
        .map_err(|e| CliError::new(Exit::Io, format!("create {}", folder.display())).because(e))?;
    let lock = host::durable::lock_exclusive(&folder.join("lock"));
    lock.map(Some).map_err(|e| {
        CliError::new(Exit::Busy, format!("data folder {} is in use", folder.display()))
            .because(e)
            .hint("stop the other devnet, or choose another --data")
    })
}

fn open_log(path: &Path) -> Result<File, CliError> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map_err(|e| CliError::new(Exit::Io, format!("open the log {}", path.display())).because(e))
}

/// The saved chain, or a new one.
fn open(cli: &Cli, state_file: Option<&Path>) -> Result<Devnet, CliError> {
    let verifier = prover::verifier();
    if let Some(path) = state_file {
        let loaded = Devnet::load(path, verifier.clone()).map_err(|e| {
            CliError::new(Exit::Data, format!("load {}", path.display()))
                .because(e)
                .hint("move the file away to start a new chain")
        })?;
        if let Some(devnet) = loaded {
            if devnet.rules().name != cli.preset.network_name() {
                return Err(CliError::new(
                    Exit::Config,
                    format!(
                        "{} holds a chain of {}, not of {}",
                        path.display(),
                        devnet.rules().name,
                        cli.preset.network_name()
                    ),
                )
                .hint("choose the other --preset, or another --data"));
            }
            tracing::info!(path = %path.display(), height = devnet.height(), "goes on with a saved chain; --fund has no effect");
            return Ok(devnet);
        }
    }
    let mut genesis = Genesis::of(cli.preset);
    genesis.strict_posts = !cli.optimistic_posts;
    if cli.clock == Clock::Timed {
        genesis.timestamp = SystemClock.now_unix_ms() / 1_000;
    }
    genesis.accounts = cli.funds.iter().map(|fund| (fund.address, fund.amount.clone())).collect();
    Devnet::new(genesis, verifier).map_err(|e| CliError::new(Exit::Usage, "make the genesis").because(e))
}

async fn serve(listener: TcpListener, shared: Shared, token: CancellationToken) -> anyhow::Result<()> {
    let stopped = token.cancelled_owned();
    axum::serve(listener, rpc::router(shared)).with_graceful_shutdown(stopped).await.context("serve JSON-RPC")
}

/// Lets an epoch pass every block delay. An epoch that takes longer delays the next ones.
async fn tick(
    shared: Shared,
    delay: Duration,
    state_file: Option<PathBuf>,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut interval = interval(delay);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            _ = interval.tick() => {}
        }
        let (shared, state_file) = (shared.clone(), state_file.clone());
        tokio::task::spawn_blocking(move || shared.with(|devnet| pass(devnet, state_file.as_deref()))).await??;
    }
}

fn pass(devnet: &mut Devnet, state_file: Option<&Path>) -> anyhow::Result<()> {
    let height = devnet.advance(1)?;
    match state_file {
        Some(path) if height % SAVE_EPOCHS == 0 || devnet.head_has_messages() => {
            devnet.save(path).context("save the chain")
        }
        _ => Ok(()),
    }
}

fn announce(cli: &Cli, url: &str) -> Result<(), CliError> {
    tracing::info!(url, network = cli.preset.network_name(), clock = ?cli.clock, "devnet is served");
    let Some(path) = &cli.ready_file else { return Ok(()) };
    let text = serde_json::json!({ "url": url, "network": cli.preset.network_name() }).to_string();
    host::durable::write(path, text.as_bytes())
        .map_err(|e| CliError::new(Exit::Io, format!("write {}", path.display())).because(e))
}
