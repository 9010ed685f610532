//! `prover <job-dir>`: one stage of sealing, as a child process.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    host::exit::main_with(cli::run)
}
