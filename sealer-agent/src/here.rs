//! What an agent, and a command that does an agent's work, must know of where they run.

use std::path::PathBuf;

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use streams::id::Place;

use crate::{config::Config, names};

/// The place: as it is configured, else the host's name to its first dot.
pub(crate) fn place(config: &Config, host: &str) -> Result<Place, CliError> {
    if let Some(place) = &config.place {
        return Ok(place.clone());
    }
    names::place(host).ok_or_else(|| {
        CliError::new(Exit::Config, format!("host name \"{host}\" cannot be a place"))
            .hint("name the place: --place NAME, or `place = \"NAME\"` in agent.toml")
    })
}

/// The prover: as it is configured, else the one beside this program.
pub(crate) fn prover(config: &Config) -> Result<PathBuf, CliError> {
    let program = match &config.prover {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("prover"),
    };
    if !program.is_file() {
        return Err(CliError::new(Exit::NotFound, format!("prover {} does not exist", program.display()))
            .hint("install it beside sealer-agent, or set `prover = \"PATH\"` in agent.toml"));
    }
    Ok(program)
}
