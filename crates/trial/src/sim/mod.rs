//! The simulator: one seed, one thread, virtual time.
//!
//! The real coordinators, posters and deciding agents run against a modelled queue, chain, disks and children. A seed
//! chooses the faults and their moments; once they have stopped, every sector has to come to its end. What must never
//! happen is checked while it runs.

mod chain;
mod checker;
mod clock;
mod cluster;
mod disk;
mod plan;
mod process;
mod proofs;
mod run;
pub mod without;

use self::without::Without;

/// What the clocks show at the beginning: the model chain's genesis.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// How one seed went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// A digest of everything that happened.
    pub digest: u64,
    /// The end of the log.
    pub tail: Vec<String>,
}

/// Plays one seed.
///
/// # Errors
///
/// The runtime or the folder for the coordinators' keys could not be made; nothing is known of the seed then.
pub fn play(seed: u64, without: Option<Without>, loud: bool) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let home = home()?;
    runtime.block_on(run::run(seed, without, loud, home.path()))
}

/// A folder in memory where there is one: what services make durable costs real time, and only simulated power is cut.
fn home() -> std::io::Result<tempfile::TempDir> {
    let made = tempfile::Builder::new().prefix("sealstream-sim-").tempdir_in("/dev/shm");
    made.or_else(|_| tempfile::tempdir())
}
