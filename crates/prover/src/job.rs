//! The job directory: the whole protocol between an agent and a `prover`.
//!
//! ```text
//! <job>/request.json    written by the agent before the start
//! <job>/progress.json   rewritten by the prover while it works
//! <job>/result.json     written once, last: its absence means that the prover died
//! <job>/stderr.log      the child's talk, for a person
//! ```
//!
//! Each file is written atomically. An agent may die and come back while a job runs: the directory tells it all it
//! needs. A person can run a failed job again by hand: `prover <job>`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use streams::{
    id::{MinerId, SectorId, SectorNumber, Timestamp},
    message::{FailureClass, Text},
    proof::{Bytes32, Commitment, Drawn, ProofBytes, SealProof},
    records::BytesDone,
};

/// Name of the request within a job directory.
pub const REQUEST: &str = "request.json";
/// Name of the progress file within a job directory.
pub const PROGRESS: &str = "progress.json";
/// Name of the result within a job directory.
pub const RESULT: &str = "result.json";
/// Name of the child's log within a job directory.
pub const STDERR: &str = "stderr.log";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The seal proof type: fixes the sector size and every circuit.
    pub proof: SealProof,
    /// The work.
    pub work: Work,
}

impl Text for Request {
    const KIND: &'static str = "job-request";
    const VERSION: u64 = 1;
}

/// A piece on disk, ready to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PieceFile {
    /// Raw payload; what it lacks to the piece's unpadded size is zeros.
    pub path: PathBuf,
    /// Padded size of the piece: a power of two, at least 128.
    pub padded_bytes: u64,
    /// Where it begins in the sector, padded bytes.
    pub offset_padded: u64,
}

/// A piece by what is known of it without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PieceCommitment {
    /// Its commitment.
    pub commitment: Commitment,
    /// Padded size.
    pub padded_bytes: u64,
    /// Where it begins in the sector, padded bytes.
    pub offset_padded: u64,
}

/// One stage with all it needs. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage", deny_unknown_fields)]
pub enum Work {
    /// Write pieces, Fr32-padded and at their offsets, into `staged` (created anew, full sector length).
    AddPiece {
        /// In ascending order of offset, none overlapping.
        pieces: Vec<PieceFile>,
        /// The file to create.
        staged: PathBuf,
    },
    /// Build tree-d over `staged` (over zeros when absent) into `cache`.
    TreeD {
        /// The staged file; absent in a CC sector.
        staged: Option<PathBuf>,
        /// The sector's cache folder.
        cache: PathBuf,
    },
    /// SDR labelling. `cache` must hold nothing of another ticket or other data: the library would use it unseen.
    Pc1 {
        /// The sector.
        sector: SectorId,
        /// The ticket.
        ticket: Drawn,
        /// Known pieces; gaps are zeros.
        pieces: Vec<PieceCommitment>,
        /// The staged file; absent in a CC sector.
        staged: Option<PathBuf>,
        /// The sector's cache folder.
        cache: PathBuf,
        /// Created: a copy of the staged data, which PC2 turns into the replica.
        sealed: PathBuf,
        /// Written: the library's PC1 output, which PC2 reads.
        pc1_output: PathBuf,
    },
    /// Tree-c, tree-r-last and the replica. `sealed` is restored from `staged` first, so that a run that was
    /// interrupted leaves no trace.
    Pc2 {
        /// The sector.
        sector: SectorId,
        /// What PC1 wrote.
        pc1_output: PathBuf,
        /// The staged file; absent in a CC sector.
        staged: Option<PathBuf>,
        /// The sector's cache folder.
        cache: PathBuf,
        /// Turned into the replica.
        sealed: PathBuf,
    },
    /// Vanilla proofs for the seed, checked before they are written.
    C1 {
        /// The sector.
        sector: SectorId,
        /// The ticket of PC1.
        ticket: Drawn,
        /// The seed.
        seed: Drawn,
        /// Known pieces; gaps are zeros.
        pieces: Vec<PieceCommitment>,
        /// CommD.
        comm_d: Commitment,
        /// CommR.
        comm_r: Commitment,
        /// The sector's cache folder.
        cache: PathBuf,
        /// The replica.
        sealed: PathBuf,
        /// Written: the library's C1 output, which C2 reads.
        c1_output: PathBuf,
    },
    /// The Groth16 proof, verified before it is reported.
    C2 {
        /// The sector.
        sector: SectorId,
        /// CommD.
        comm_d: Commitment,
        /// CommR.
        comm_r: Commitment,
        /// The ticket of PC1.
        ticket: Drawn,
        /// The seed.
        seed: Drawn,
        /// What C1 wrote.
        c1_output: PathBuf,
    },
    /// Drop what proving does not need: layers, tree-c, tree-d.
    Finalize {
        /// The sector's cache folder.
        cache: PathBuf,
    },
    /// Vanilla window-PoSt proofs of some sectors of a partition.
    VanillaPost {
        /// The miner.
        miner: MinerId,
        /// Challenge randomness.
        randomness: Bytes32,
        /// All proven sectors of the partition, ascending.
        order: Vec<SectorNumber>,
        /// The ones to prove here.
        sectors: Vec<Replica>,
        /// Written: JSON array of base64 strings, one a proven sector, in the order of [`Output::VanillaPost`].
        output: PathBuf,
    },
    /// The SNARK of one partition, verified before it is reported.
    WindowPost {
        /// The miner.
        miner: MinerId,
        /// Challenge randomness.
        randomness: Bytes32,
        /// The proven sectors, ascending, with their commitments.
        sectors: Vec<(SectorNumber, Commitment)>,
        /// Files with vanilla proofs, each with the sectors it holds, in order.
        vanilla: Vec<(PathBuf, Vec<SectorNumber>)>,
    },
    /// Read data back out of a replica.
    Unseal {
        /// The sector.
        sector: SectorId,
        /// The ticket of PC1.
        ticket: Drawn,
        /// CommD.
        comm_d: Commitment,
        /// The replica.
        sealed: PathBuf,
        /// A scratch folder: the library writes trees and labels there (never the sector's own cache).
        scratch: PathBuf,
        /// Written: `length_unpadded` raw bytes.
        output: PathBuf,
        /// Where in the sector, unpadded bytes.
        offset_unpadded: u64,
        /// How many unpadded bytes.
        length_unpadded: u64,
    },
}

impl Work {
    /// The stage's name in logs and progress.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddPiece { .. } => "add-piece",
            Self::TreeD { .. } => "tree-d",
            Self::Pc1 { .. } => "pc1",
            Self::Pc2 { .. } => "pc2",
            Self::C1 { .. } => "c1",
            Self::C2 { .. } => "c2",
            Self::Finalize { .. } => "finalize",
            Self::VanillaPost { .. } => "vanilla-post",
            Self::WindowPost { .. } => "window-post",
            Self::Unseal { .. } => "unseal",
        }
    }
}

/// A replica to prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// Its number.
    pub number: SectorNumber,
    /// Its commitment.
    pub comm_r: Commitment,
    /// The sealed file.
    pub sealed: PathBuf,
    /// Its cache folder (p_aux, t_aux, tree-r-last).
    pub cache: PathBuf,
}

/// What is happening now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What it is doing: `layer 3 of 11`, `groth16 proof`.
    pub phase: String,
    /// How far, in thousandths, where that is known.
    pub permille: Option<u16>,
    /// The bytes of that, where it is bytes that are worked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<BytesDone>,
    /// When this was written.
    pub at: Timestamp,
}

impl Text for Progress {
    const KIND: &'static str = "job-progress";
    const VERSION: u64 = 1;
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum JobResult {
    /// It worked.
    Done {
        /// What came of it.
        output: Output,
        /// Wall time of the work itself, without process start.
        work_ms: u64,
    },
    /// It did not, and the prover knows why.
    Refused {
        /// Who must act.
        class: FailureClass,
        /// A stable word: `bad-input`, `no-space`, `missing-params`, `panicked`, …
        code: String,
        /// The cause chain.
        message: String,
    },
}

impl Text for JobResult {
    const KIND: &'static str = "job-result";
    const VERSION: u64 = 1;
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum Output {
    /// Pieces were added.
    AddPiece {
        /// Their commitments, in order.
        pieces: Vec<Commitment>,
    },
    /// Tree-d is built.
    TreeD {
        /// Its root.
        comm_d: Commitment,
    },
    /// Layers are on disk and fsynced.
    Pc1 {},
    /// The replica is on disk and fsynced.
    Pc2 {
        /// CommD.
        comm_d: Commitment,
        /// CommR.
        comm_r: Commitment,
    },
    /// Vanilla proofs are written.
    C1 {},
    /// The proof.
    C2 {
        /// 192 bytes a partition.
        proof: ProofBytes,
    },
    /// The cache is trimmed.
    Finalize {},
    /// Vanilla PoSt proofs are written.
    VanillaPost {
        /// The sectors proven, in the order of the file.
        proven: Vec<SectorNumber>,
        /// The sectors that could not be proven, with the reason.
        bad: Vec<(SectorNumber, String)>,
    },
    /// The partition's proof.
    WindowPost {
        /// The proof bytes.
        proof: ProofBytes,
    },
    /// The bytes are written.
    Unseal {},
}
