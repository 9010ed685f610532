//! `recorder --nats URL --out DIR`: writes down every message of every stream until it is told to stop.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use host::{
    clock::SystemClock,
    exit::{CliError, Exit, main_with},
    signal,
    tasks::Tasks,
    telemetry::{self, LogFormat},
};
use streams::nats::{Nats, NatsConfig};
use trial::recorder::Recorder;

/// How long the server may take to answer for the first time, and how long the last messages may take to be written.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records the queue for the checker: every message of every stream, into queue.jsonl.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The servers, separated by commas.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// Folder of the evidence; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
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
    let recorder = Recorder::start(nats, &cli.out, Arc::new(SystemClock), &tasks)?;
    let settled = async {
        stop.await;
        recorder.settle(PATIENCE).await
    };
    // What was stored before the signal is written before the end.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let ended = tasks.run_until(async {
        let _nobody_listens = sender.send(settled.await);
    });
    ended.await.map_err(|e| CliError::new(Exit::Failure, "record").because(e))?;
    receiver.await.unwrap_or(Ok(()))?;
    Ok(())
}
