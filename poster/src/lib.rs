//! `poster`: meets every proving deadline.
//!
//! Three storeys, the upper uses the lower, never the reverse:
//!
//! * people and wiring: [`cli`], [`config`], [`app`], [`view`];
//! * I/O: [`watcher`] is woken ([`wake`]) and passes over each [`miner`] and each [`window`] of it, which reads
//!   ([`reading`], [`replicas`], [`posts`]), hands out ([`hand_out`]), verifies ([`check`]) and sends ([`submit`],
//!   [`outbox`]) with its [`tools`]; [`stand_in`] follows the chain when nobody else does;
//! * deciding, without clock or I/O: [`deadline`], [`facts`], [`partition`], [`plan`], [`group`], [`calendar`].

mod app;
mod calendar;
mod check;
mod cli;
mod config;
mod deadline;
mod facts;
mod group;
mod hand_out;
mod miner;
mod outbox;
mod partition;
mod plan;
mod posts;
mod reading;
mod replicas;
#[cfg(feature = "simulated")]
pub mod simulated;
mod stand_in;
mod submit;
mod tools;
mod view;
mod wake;
mod watcher;
mod window;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser as _;
use host::exit::{CliError, main_with};

/// The program: reads its command line, does what it says, and answers with an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    main_with(|| run(&cli))
}

fn run(cli: &cli::Cli) -> Result<(), CliError> {
    let config = cli.global.load()?;
    host::telemetry::init(cli.global.log_format, prover::LOG_FILTER)?;
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    match &cli.command {
        cli::Command::Run => runtime.block_on(app::run(config, &cli.global.home())),
        cli::Command::Deadlines(asked) => runtime.block_on(view::deadlines(&config, asked)),
        cli::Command::Info(asked) => runtime.block_on(view::info(&config, asked)),
        cli::Command::Config(cli::ConfigCommand::Show { output }) => {
            host::config::show::<config::Config>(&cli.global.sources(), *output)
        }
    }
}
