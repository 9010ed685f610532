//! `devnet`: serves the embedded chain.

mod app;
mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use host::exit::{CliError, Exit, main_with};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    main_with(move || {
        host::telemetry::init(cli.log_format, prover::LOG_FILTER)?;
        let runtime =
            tokio::runtime::Runtime::new().map_err(|e| CliError::new(Exit::Failure, "start the runtime").because(e))?;
        runtime.block_on(app::run(cli))
    })
}
