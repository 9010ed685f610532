//! `sealer-agent`: does one machine's share of the sealing work.
//!
//! Three storeys, the upper uses the lower, never the reverse:
//!
//! * people and wiring: [`cli`], [`config`], [`error`], [`app`], [`view`], [`store_command`];
//! * I/O: [`intake`] takes a task when a slot is free, [`runner`] brings it from delivery to acknowledgement under a
//!   [`claim`] that is kept ([`tenure`], [`keep_alive`]), [`stage`] does it with the files of a [`store`] and a
//!   [`child`] in a [`job_dir`], the [`journal`] keeps its result until the queue has it ([`courier`]), [`heartbeat`]
//!   says what is on the [`board`], [`inventory`] what the stores hold. Work of a killed agent is gone on with
//!   ([`adoption`]) or cleaned up ([`leftovers`]); a [`queue`] that was lost is laid out again ([`layout_watch`]);
//! * deciding, without clock or I/O: [`slots`], [`footprint`], [`request`], [`outcome`], [`standing`], [`halt`],
//!   [`names`].

mod adoption;
mod app;
mod blocking;
mod board;
mod child;
mod claim;
mod cli;
mod config;
mod courier;
mod error;
mod footprint;
mod halt;
mod heartbeat;
mod holder;
mod intake;
mod inventory;
mod job_dir;
mod journal;
mod keep_alive;
mod layout_watch;
mod leftovers;
mod machine;
mod names;
mod now;
mod offered;
mod order;
mod outcome;
mod process;
mod queue;
mod request;
mod runner;
mod running;
mod said;
#[cfg(test)]
mod sample;
mod settle;
#[cfg(feature = "simulated")]
pub mod simulated;
mod slots;
mod stage;
mod standing;
mod store;
mod store_command;
mod task;
mod tenure;
mod view;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use cli::{Cli, Command, RunArgs};
use host::{
    config::Sources,
    exit::{CliError, Exit, main_with},
};

/// The program: reads its command line, does what it says, and answers with an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    main_with(|| run(cli))
}

fn run(cli: Cli) -> Result<(), CliError> {
    host::telemetry::init(cli.log_format.unwrap_or_default(), prover::LOG_FILTER)?;
    let home = host::home::resolve(cli.home);
    let misplaced = cli.command.is_some() && cli.run != RunArgs::default();
    if misplaced {
        return Err(CliError::new(Exit::Usage, "options of `run` stand before another command")
            .hint("write them behind it: `sealer-agent run --class pc2-gpu`"));
    }
    match cli.command {
        None => run_agent(&home, cli.config, &cli.run),
        Some(Command::Run(args)) => run_agent(&home, cli.config, &args),
        Some(Command::Store(command)) => store_command::run(&home, cli.config, command),
        Some(Command::Jobs { output }) => view::jobs(&home, output.output),
    }
}

fn load_config(home: &Path, file: Option<PathBuf>, args: &RunArgs) -> Result<config::Config, CliError> {
    let sources = Sources {
        file_required: file.is_some(),
        file: Some(file.unwrap_or_else(|| home.join(config::FILE))),
        env_prefix: config::ENV_PREFIX,
        overrides: args.overrides(),
    };
    host::config::load(&sources)
}

fn run_agent(home: &Path, file: Option<PathBuf>, args: &RunArgs) -> Result<(), CliError> {
    let config = load_config(home, file, args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    let done = runtime.block_on(app::run(home, config));
    // A copy that was interrupted may still be writing its scratch: the process ends without it.
    runtime.shutdown_background();
    done
}
