//! `sealer-agent`: does one machine's share of the sealing work.
//!
//! Three storeys, the upper uses the lower, never the reverse:
//!
//! * people and wiring: [`cli`], [`config`], [`import`], [`fleet`], [`error`], [`app`], [`view`], [`store_command`], [`attach`], which
//!   takes over what others sealed;
//! * I/O: [`intake`] takes a task when a slot is free and the [`gate`] is open ([`duty`] keeps what a person said, [`reload`]
//!   applies a configuration that changed), [`runner`] brings it from delivery to acknowledgement under a
//!   [`claim`] that is kept ([`tenure`], [`keep_alive`]), [`stage`] does it with the files of a [`store`] and a
//!   [`child`] in a [`job_dir`], the [`journal`] keeps its result until the queue has it ([`courier`]), [`heartbeat`]
//!   says what is on the [`board`], [`inventory`] what the stores hold. Work of a killed agent is gone on with
//!   ([`adoption`]) or cleaned up ([`leftovers`]); a [`queue`] that was lost is laid out again ([`layout_watch`]);
//! * deciding, without clock or I/O: [`slots`], [`footprint`], [`request`], [`outcome`], [`standing`], [`halt`],
//!   [`names`].

mod adoption;
mod app;
mod attach;
mod blocking;
mod board;
mod child;
mod claim;
mod cli;
mod config;
mod courier;
mod duty;
mod error;
mod fleet;
mod footprint;
mod gate;
mod halt;
mod heartbeat;
mod here;
mod holder;
mod import;
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
mod parting;
mod process;
mod queue;
mod rate;
mod reload;
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
use cli::{AgentArgs, Cli, Command, ConfigCommand, RunArgs};
use host::{
    config::{Live, Sources},
    exit::{CliError, Exit, main_with},
};
use streams::duty::Duty;

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
        Some(Command::Config(ConfigCommand::Show { run, output })) => {
            host::config::show::<config::Config>(&sources(&home, cli.config, &run), output.output)
        }
        Some(Command::Config(ConfigCommand::Import { file })) => import(&file),
        Some(Command::Store(command)) => store_command::run(&home, cli.config, command),
        Some(Command::Cordon { agents }) => tell(&home, &agents, Duty::Cordoned),
        Some(Command::Pause { agents }) => tell(&home, &agents, Duty::Paused),
        Some(Command::Resume { agents }) => tell(&home, &agents, Duty::Serving),
        Some(Command::Drain { agents, deadline, no_wait }) => {
            let config = host::config::load(&sources(&home, cli.config, &RunArgs::default()))?;
            let order = fleet::Order { home: &home, names: &agents.names, format: agents.output.output };
            let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
            runtime.block_on(order.drain(deadline, !no_wait, &config))
        }
        Some(Command::Join(args)) => machine::confine::join(&args),
        Some(Command::Jobs { output }) => view::jobs(&home, output.output),
    }
}

fn tell(home: &Path, agents: &AgentArgs, duty: Duty) -> Result<(), CliError> {
    fleet::Order { home, names: &agents.names, format: agents.output.output }.tell(duty)
}

fn run_agent(home: &Path, file: Option<PathBuf>, args: &RunArgs) -> Result<(), CliError> {
    let (config, live) = Live::<config::Config>::load(sources(home, file, args))?;
    if let Some(filter) = &config.log {
        host::telemetry::set_filter(filter)?;
    }
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    let done = runtime.block_on(app::run(home, config, live));
    // A copy that was interrupted may still be writing its scratch: the process ends without it.
    runtime.shutdown_background();
    done
}

fn sources(home: &Path, file: Option<PathBuf>, args: &RunArgs) -> Sources {
    Sources {
        file_required: file.is_some(),
        file: Some(file.unwrap_or_else(|| home.join(config::FILE))),
        env_prefix: config::ENV_PREFIX,
        overrides: args.overrides(),
    }
}

/// The configuration goes to stdout, what a person must know of it to stderr.
fn import(file: &Path) -> Result<(), CliError> {
    let import::Imported { text, notes } = import::read(file)?;
    for note in notes {
        eprintln!("{}: {note}", file.display());
    }
    host::output::text(&text)
}
