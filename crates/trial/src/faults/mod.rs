//! The fault suite: the real programs as processes, and everything that can happen to them.
//!
//! ```text
//!  seed ─► plan ─► lanes ─► inject: wait for named work ─ hit ─ did it hold the work? ─ mend ─ wait until it goes on
//!                                │                                                             │
//!  load: sectors, so that        │ each program has proxies of its own                         ▼
//!  there is work                 ▼ to the queue and to the node                              tally ─► verdict
//! ```
//!
//! A fault counts only if its target held named work at that moment: a claim that stands, a lease with sectors waiting
//! for its holder, an open window, a push on its way. A kill at a failpoint counts by itself, since it has a place.
//!
//! At the end every sector that no fault spoilt on purpose is proving, the offline checker finds nothing, and no
//! process is left.

mod cluster;
mod diary;
mod evidence;
mod inject;
mod kind;
mod lanes;
mod layout;
mod leftovers;
mod link;
mod load;
mod member;
mod node;
mod pipeline;
mod plan;
mod points;
mod program;
mod recovery;
mod rows;
mod run;
mod script;
mod servers;
mod small;
mod soak;
mod tally;
mod verdict;
mod view;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use host::{
    exit::{CliError, Exit},
    telemetry::{self, LogFormat},
};

/// Injects faults into a cluster of real processes, and judges what becomes of it.
#[derive(Debug, Parser)]
#[command(name = "faults", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  faults run                      the standard plan: what `make test` ends with
  faults run --seed 7 --only 15   only reorgs, in the order of seed 7
  faults failpoints               every failpoint once
  faults list                     kinds and failpoints";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the plan of a seed
    Run(RunArgs),
    /// Die at every failpoint once
    Failpoints(RunArgs),
    /// Many runs, one seed after the other; goes on where it was ended
    Soak(SoakArgs),
    /// Recovery times at default settings, as rows of the benchmark
    Recovery {
        /// Folder of the run
        #[arg(long, default_value = "target/trial/recovery")]
        dir: PathBuf,
    },
    /// A machine's pipeline at the ratios of real stages, as rows of the benchmark
    Pipeline {
        /// Folder of the run
        #[arg(long, default_value = "target/trial/pipeline")]
        dir: PathBuf,
        /// How long a minute of a real stage takes
        #[arg(long, default_value = "100ms", value_parser = humantime::parse_duration)]
        minute: Duration,
    },
    /// List kinds and failpoints
    List,
}

/// What a run consists of.
#[derive(Debug, Clone, Args)]
struct RunArgs {
    /// Chooses the faults and their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the run [default: target/trial/<seed>]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Hundredths of the standard number of faults
    #[arg(long, default_value_t = 100)]
    percent: u32,
    /// Only these rows of the table (repeat for several)
    #[arg(long, value_name = "ROW")]
    only: Vec<u8>,
    /// Leave the failpoints out
    #[arg(long)]
    no_failpoints: bool,
    /// Only failpoints that begin so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    points: String,
    /// Sectors with real proofs, in a cluster of their own
    #[arg(long, default_value_t = 3)]
    real: usize,
    /// Sectors on their way at a time
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Time between epochs
    #[arg(long, default_value = "800ms", value_parser = humantime::parse_duration)]
    epoch: Duration,
    /// Begin no further fault after this time
    #[arg(long, default_value = "6m", value_parser = humantime::parse_duration)]
    limit: Duration,
    /// Add the deaths of a clean run, by failpoint, to this file
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
    /// Keep the folder of the run, whatever comes of it
    #[arg(long)]
    keep: bool,
}

impl RunArgs {
    /// Whether nothing of the standard plan is left out.
    const fn is_whole(&self) -> bool {
        self.percent >= 100 && self.only.is_empty() && !self.no_failpoints && self.points.is_empty()
    }

    /// What `faults run` does without arguments.
    fn standard() -> Result<Self, CliError> {
        #[derive(Parser)]
        struct Standard {
            #[command(flatten)]
            args: RunArgs,
        }
        let parsed = Standard::try_parse_from(["faults"]);
        parsed.map(|standard| standard.args).map_err(|e| CliError::new(Exit::Usage, "read the defaults").because(e))
    }
}

#[derive(Debug, Args)]
struct SoakArgs {
    /// Faults in all
    #[arg(long, default_value_t = 5_000)]
    faults: usize,
    /// Folder of the report and of the shards' results
    #[arg(long, default_value = "target/soak")]
    dir: PathBuf,
}

/// The program: reads its command line, does what it says, and answers with an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    host::exit::main_with(|| {
        telemetry::init(LogFormat::Text, "warn,trial=info,streams=error,async_nats=error")?;
        let runtime =
            tokio::runtime::Runtime::new().map_err(|e| CliError::new(Exit::Io, "start the runtime").because(e))?;
        runtime.block_on(async {
            let stop = host::signal::shutdown().map_err(|e| CliError::new(Exit::Io, "listen to signals").because(e))?;
            tokio::select! {
                done = Box::pin(go(cli.command)) => done,
                // Everything that was started is killed as its owner is dropped.
                _ = stop => Err(CliError::new(Exit::Interrupted, "interrupted")),
            }
        })
    })
}

async fn go(command: Command) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Failpoints(args) => run::failpoints(args).await,
        Command::Soak(args) => soak::soak(args).await,
        Command::Recovery { dir } => recovery::measure(dir).await,
        Command::Pipeline { dir, minute } => pipeline::measure(dir, minute).await,
        Command::List => list(),
    }
}

fn list() -> Result<(), CliError> {
    for kind in kind::Kind::ALL {
        println!("{:>3}  {:<44} {:>3}", kind.number(), kind.name(), kind.count());
    }
    for name in points::all()? {
        println!("     {} at {name}", plan::kind_of(&name));
    }
    Ok(())
}
