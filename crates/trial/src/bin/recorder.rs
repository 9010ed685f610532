//! `recorder --nats URL --out DIR`: writes down every message of every stream until it is told to stop.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_nats::connection::State;
use clap::Parser;
use host::{
    clock::SystemClock,
    exit::{CliError, Exit, main_with},
    signal,
    tasks::Tasks,
    telemetry::{self, LogFormat},
};
use streams::nats::{Nats, NatsConfig};
use trial::{
    evidence::{LineLog, RUN, StoreFolder, collect, watch_children},
    recorder::Recorder,
};

/// How long the server may take to answer for the first time, and how long the last messages may take to be written.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often provers are looked for.
const CHILDREN_EVERY: Duration = Duration::from_millis(100);

/// Records for the checker: every message of every stream into queue.jsonl, and what else it is told to look at.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The servers, separated by commas.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// Folder of the evidence; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A home of agents: provers whose jobs are below it are noted in run.jsonl while they live. May be repeated.
    #[arg(long = "home", value_name = "DIR")]
    homes: Vec<PathBuf>,
    /// A store and the place that opens it: what lies in it at the end is noted in stores.jsonl. May be repeated.
    #[arg(long = "store", value_name = "PLACE=DIR", value_parser = store)]
    stores: Vec<StoreFolder>,
}

fn store(text: &str) -> Result<StoreFolder, String> {
    let (place, path) = text.split_once('=').ok_or("write it as place=folder")?;
    Ok(StoreFolder { path: path.into(), place: place.to_owned() })
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    main_with(move || {
        telemetry::init(LogFormat::default(), "info")?;
        let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
        runtime.block_on(record(cli))
    })
}

async fn record(cli: Cli) -> Result<(), CliError> {
    let stop = signal::shutdown().context("listen to signals")?;
    let config = NatsConfig { url: cli.nats.clone(), name: "recorder".to_owned(), connect_timeout: PATIENCE };
    let nats = Nats::connect(&config)
        .await
        .map_err(|e| CliError::new(Exit::Unavailable, format!("connect to {}", cli.nats)).because(e))?;
    let tasks = Tasks::new();
    let clock = Arc::new(SystemClock);
    let recorder = Recorder::start(nats.clone(), &cli.out, clock.clone(), &tasks)?;
    if !cli.homes.is_empty() {
        let log = Arc::new(LineLog::open(&cli.out, RUN).context("open run.jsonl")?);
        for home in cli.homes {
            let watch = watch_children(log.clone(), clock.clone(), home.clone(), CHILDREN_EVERY, tasks.token());
            tasks.spawn(format!("watch provers of {}", home.display()), watch);
        }
    }
    // What was stored before the signal is written before the end, unless the server ended first.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let ended = tasks.run_until(async {
        stop.await;
        let is_there = nats.client().connection_state() == State::Connected;
        let settled = if is_there { recorder.settle(PATIENCE).await } else { Ok(()) };
        let _nobody_listens = sender.send(settled);
    });
    ended.await.map_err(|e| CliError::new(Exit::Failure, "record").because(e))?;
    receiver.await.unwrap_or(Ok(()))?;
    if cli.stores.is_empty() {
        return Ok(());
    }
    let found = tokio::task::spawn_blocking(move || collect(&cli.out, &cli.stores, &SystemClock)).await;
    let collected = found.context("look at the stores")?;
    collected.map_err(|e| CliError::new(Exit::Io, "look at the stores").because(e))
}
