//! A folder for one sector, and the program on its jobs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prover::job::{JobResult, Output, PieceCommitment, REQUEST, RESULT, Replica, Request, Work};
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    message::{FailureClass, decode, encode},
    proof::{Bytes32, Commitment, Drawn, SealProof},
};

pub(crate) const PROOF: SealProof = SealProof::Drg2KiBV1_1;
pub(crate) const SEED: Drawn = Drawn { epoch: 20, value: Bytes32([7; 32]) };

pub(crate) fn ticket(byte: u8) -> Drawn {
    Drawn { epoch: 10, value: Bytes32([byte; 32]) }
}

pub(crate) fn sector(number: u64) -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(number) }
}

/// A folder for one sector and its jobs.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn run(&self, work: Work) -> JobResult {
        let job = self.path(&format!("job-{}", work.name()));
        fs::create_dir_all(&job).unwrap();
        host::durable::write(&job.join(REQUEST), &encode(&Request { proof: PROOF, work }).unwrap()).unwrap();
        run_prover(&job)
    }

    pub(crate) fn done(&self, work: Work) -> Output {
        match self.run(work) {
            JobResult::Done { output, .. } => output,
            refused @ JobResult::Refused { .. } => panic!("{refused:?}"),
        }
    }

    pub(crate) fn refused(&self, work: Work) -> (FailureClass, String, String) {
        match self.run(work) {
            JobResult::Refused { class, code, message } => (class, code, message),
            done @ JobResult::Done { .. } => panic!("{done:?}"),
        }
    }

    pub(crate) fn pc1(&self, number: u64, ticket: Drawn, pieces: &[PieceCommitment]) -> Work {
        Work::Pc1 {
            sector: sector(number),
            ticket,
            pieces: pieces.to_vec(),
            staged: (!pieces.is_empty()).then(|| self.path("staged")),
            cache: self.path("cache"),
            sealed: self.path("sealed"),
            pc1_output: self.path("pc1.json"),
        }
    }

    pub(crate) fn pc2(&self, number: u64, is_cc: bool) -> Work {
        Work::Pc2 {
            sector: sector(number),
            pc1_output: self.path("pc1.json"),
            staged: (!is_cc).then(|| self.path("staged")),
            cache: self.path("cache"),
            sealed: self.path("sealed"),
        }
    }

    /// PC1 and PC2 of a sector without data.
    pub(crate) fn seal_cc(&self, number: u64, ticket: Drawn) -> (Commitment, Commitment) {
        assert_eq!(self.done(self.pc1(number, ticket, &[])), Output::Pc1 {});
        let Output::Pc2 { comm_d, comm_r } = self.done(self.pc2(number, true)) else { panic!("not pc2") };
        (comm_d, comm_r)
    }

    pub(crate) fn c1(&self, number: u64, pieces: &[PieceCommitment], comm_d: Commitment, comm_r: Commitment) -> Work {
        Work::C1 {
            sector: sector(number),
            ticket: ticket(1),
            seed: SEED,
            pieces: pieces.to_vec(),
            comm_d,
            comm_r,
            cache: self.path("cache"),
            sealed: self.path("sealed"),
            c1_output: self.path("c1.json"),
        }
    }

    pub(crate) fn vanilla(&self, order: &[u64], sectors: Vec<Replica>) -> Work {
        Work::VanillaPost {
            miner: MinerId(1000),
            randomness: Bytes32([0xff; 32]),
            order: order.iter().copied().map(SectorNumber).collect(),
            sectors,
            output: self.path("vanilla.json"),
        }
    }
}

pub(crate) fn prover(job: &Path) -> Command {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_prover"));
    command.arg(job).env("FIL_PROOFS_PARENT_CACHE", cache.join("filecoin-parents"));
    command.env("FIL_PROOFS_PARAMETER_CACHE", cache.join("no-parameters")).env("RUST_LOG", "error");
    command
}

pub(crate) fn run_prover(job: &Path) -> JobResult {
    let output = prover(job).output().unwrap();
    let result = host::durable::read(&job.join(RESULT)).unwrap();
    let result = result.unwrap_or_else(|| panic!("no result: {}", String::from_utf8_lossy(&output.stderr)));
    decode(&result).unwrap()
}

/// Overwrites a file, or makes one of a sector's length, with bytes that are field elements and nothing else.
pub(crate) fn damage(path: &Path) {
    let length = fs::metadata(path).map_or(2048, |m| m.len());
    let bytes: Vec<u8> = (0..length).map(|_| 0x11).collect();
    host::durable::write(path, &bytes).unwrap();
}
