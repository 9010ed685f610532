//! Decides what happens next to a sector, and speaks to the chain about it.
//!
//! Three storeys; the upper may use the lower, never the reverse:
//!
//! ```text
//! wire up, talk to people   main  cli  config  app  leader  command/  view/  dev/
//! outlive the queue         memory  incarnation  rebuild/  backup/
//! do I/O                    registry  driver  results  verify  reconciler  numbers  tickets  submission  unsealing
//!                           succession  attach  stores  aside  onchain/  head  miners  miner_create  control  pieces/
//! decide                    sector/  why/  fence  status  batch  packing
//! ```

mod app;
mod aside;
mod attach;
mod backup;
mod batch;
mod cli;
mod command;
mod config;
mod control;
mod dev;
mod driver;
mod fence;
mod head;
mod incarnation;
mod leader;
mod memory;
mod miner_create;
mod miners;
mod numbers;
mod onchain;
mod packing;
mod pieces;
mod rebuild;
mod reconciler;
mod registry;
mod results;
#[cfg(test)]
#[path = "../tests/s3/mod.rs"]
mod s3;
mod sector;
#[cfg(feature = "simulated")]
pub mod simulated;
mod status;
mod stores;
mod submission;
mod succession;
mod tickets;
mod trail;
#[cfg(test)]
mod trial;
mod unsealing;
mod verify;
mod view;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

/// The program: reads its command line, does what it says, and answers with an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    host::exit::main_with(|| {
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|e| host::exit::CliError::new(host::exit::Exit::Io, "start the runtime").because(e))?;
        runtime.block_on(command::run(cli))
    })
}
