//! The stages of sealing as a child process, and verification as a library.
//!
//! This is the only crate that names filecoin-proofs-api. The library reads its settings once into process globals,
//! prints to stdout, takes no cancel and panics on some bad input, so work runs in a child process of its own:
//! `prover <job-dir>`, whose whole protocol is the job directory ([`job`]). Services link this crate for three things:
//! the types of that protocol, verification ([`verify`], [`RealVerifier`]), and commitments ([`comm_d`],
//! [`piece_commitment`]).
//!
//! ```text
//! job       request.json → progress.json → result.json
//! stage     what each stage does, with the library's traps closed
//! verify    the trait and its statements; real: the one implementation that ships
//! commitment  CommD and piece commitments, without a sector
//! params    devnet parameters: generated offline, recognised, refused elsewhere
//! ```

/// What a program that verifies or proves logs when nobody says otherwise. The library says at INFO which caches it
/// looks into, several lines a proof: that is for whoever debugs it.
pub const LOG_FILTER: &str = "info,filecoin_proofs=warn,storage_proofs=warn,bellperson=warn";

pub mod bench;
mod cache_tag;
mod commitment;
mod failure;
#[cfg(feature = "fake-proofs")]
pub mod fake;
pub mod job;
mod library;
pub mod params;
mod parent_cache;
mod progress;
mod real;
mod run;
pub mod stage;
pub mod verify;

pub use commitment::{CommitmentError, comm_d, piece_commitment, piece_size};
pub use failure::StageFailure;
pub use progress::{Progress, Silent};
pub use real::RealVerifier;
pub use run::{JobError, read_request, run_job, write_result};
pub use verify::{SealStatement, Verifier, VerifyError, WindowPostStatement, verifier};

/// Bytes that every build with fake proofs contains, and no other: a test looks for them in what ships.
pub const FAKE_PROOFS_MARKER: &str = "sealstream: this program accepts fake proofs";
