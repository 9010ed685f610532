//! The five steps of every service: parse, load the configuration, start telemetry, run, answer with an exit code.

use std::{future::pending, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use host::{
    config,
    exit::{CliError, Exit, main_with},
    output::{Column, Format, Listing},
    signal,
    tasks::Tasks,
    telemetry::{self, LogFormat},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Parser)]
struct Cli {
    /// Read this file.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Work until told to stop.
    Run {
        /// How the one task behaves.
        #[arg(long, value_enum, default_value_t = Manners::Good)]
        manners: Manners,
    },
    /// Print many rows.
    List {
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Manners {
    /// Ends when told.
    Good,
    /// Never ends.
    Deaf,
    /// Ends untold.
    Hasty,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    rows: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { rows: 100_000 }
    }
}

fn main() -> ExitCode {
    main_with(|| {
        let cli = Cli::parse();
        let config: Config = config::load(&config::Sources {
            file_required: cli.config.is_some(),
            file: cli.config,
            env_prefix: "SEALSTREAM_EXAMPLE_",
            overrides: serde_json::Value::Null,
        })?;
        telemetry::init(LogFormat::default(), "info")?;
        match cli.command {
            Command::Run { manners } => run(manners),
            Command::List { output } => list(config.rows, output),
        }
    })
}

fn run(manners: Manners) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = signal::shutdown().context("listen to signals")?;
        let tasks = Tasks::new();
        let told = tasks.token();
        tasks.spawn("worker", async move {
            match manners {
                Manners::Good => told.cancelled().await,
                Manners::Deaf => pending().await,
                Manners::Hasty => {}
            }
            Ok(())
        });
        tracing::info!("running");
        tasks.run_until(stop).await.map_err(|error| CliError::new(Exit::Failure, "serve").because(error))
    })
}

fn list(rows: u32, output: Format) -> Result<(), CliError> {
    let mut listing = Listing::new([Column::new("number").right()]);
    for number in 0..rows {
        listing.row([number.to_string()], &number)?;
    }
    listing.print(output)
}
