//! Every stage called directly for one sector: what the stages cost without a cluster around them.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    proof::{Bytes32, Drawn, SealProof},
};

use crate::{
    job::{Output, PieceCommitment, PieceFile, Replica, Request, Work},
    progress::Silent,
    stage,
};

/// Seals and proves one full sector in a folder of its own within `work_dir`; answers what each stage took, in order.
pub fn run(proof: SealProof, work_dir: &Path) -> anyhow::Result<Vec<(&'static str, Duration)>> {
    let scratch = tempfile::tempdir_in(work_dir).context("create the work folder")?;
    let mut bench = Bench { proof, dir: scratch.path().to_owned(), stages: Vec::new() };
    bench.whole_sector()?;
    Ok(bench.stages)
}

struct Bench {
    proof: SealProof,
    dir: PathBuf,
    stages: Vec<(&'static str, Duration)>,
}

impl Bench {
    fn whole_sector(&mut self) -> anyhow::Result<()> {
        let sector = SectorId { miner: MinerId(1000), number: SectorNumber(1) };
        let ticket = Drawn { epoch: 1, value: Bytes32([1; 32]) };
        let seed = Drawn { epoch: 2, value: Bytes32([2; 32]) };
        let [staged, cache, sealed, pc1_output, c1_output] =
            ["staged", "cache", "sealed", "pc1.json", "c1.json"].map(|name| self.dir.join(name));
        let pieces = vec![self.add_piece(&staged)?];
        let staged = Some(staged);
        self.time(Work::TreeD { staged: staged.clone(), cache: cache.clone() })?;
        self.time(Work::Pc1 {
            sector,
            ticket,
            pieces: pieces.clone(),
            staged: staged.clone(),
            cache: cache.clone(),
            sealed: sealed.clone(),
            pc1_output: pc1_output.clone(),
        })?;
        let pc2 = Work::Pc2 { sector, pc1_output, staged, cache: cache.clone(), sealed: sealed.clone() };
        let Output::Pc2 { comm_d, comm_r } = self.time(pc2)? else { anyhow::bail!("pc2 answered for another stage") };
        self.time(Work::C1 {
            sector,
            ticket,
            seed,
            pieces,
            comm_d,
            comm_r,
            cache: cache.clone(),
            sealed: sealed.clone(),
            c1_output: c1_output.clone(),
        })?;
        self.time(Work::C2 { sector, comm_d, comm_r, ticket, seed, c1_output })?;
        self.time(Work::Finalize { cache: cache.clone() })?;
        self.window_post(sector, Replica { number: sector.number, comm_r, sealed, cache })
    }

    /// One piece that fills the sector.
    fn add_piece(&mut self, staged: &Path) -> anyhow::Result<PieceCommitment> {
        let path = self.dir.join("payload");
        let payload = io::Read::take(io::repeat(0xa5), self.proof.unpadded_size());
        let mut file = File::create(&path).context("create the payload")?;
        io::copy(&mut { payload }, &mut file).context("write the payload")?;
        let padded_bytes = self.proof.sector_size();
        let piece = PieceFile { path, padded_bytes, offset_padded: 0 };
        let output = self.time(Work::AddPiece { pieces: vec![piece], staged: staged.to_owned() })?;
        let Output::AddPiece { pieces } = output else { anyhow::bail!("add-piece answered for another stage") };
        let commitment = *pieces.first().context("add-piece answered without a commitment")?;
        Ok(PieceCommitment { commitment, padded_bytes, offset_padded: 0 })
    }

    fn window_post(&mut self, sector: SectorId, replica: Replica) -> anyhow::Result<()> {
        let (miner, number, comm_r) = (sector.miner, sector.number, replica.comm_r);
        let randomness = Bytes32([3; 32]);
        let output = self.dir.join("vanilla.json");
        self.time(Work::VanillaPost {
            miner,
            randomness,
            order: vec![number],
            sectors: vec![replica],
            output: output.clone(),
        })?;
        let vanilla = vec![(output, vec![number])];
        self.time(Work::WindowPost { miner, randomness, sectors: vec![(number, comm_r)], vanilla })?;
        Ok(())
    }

    fn time(&mut self, work: Work) -> anyhow::Result<Output> {
        let stage = work.name();
        tracing::info!(stage, "calling the stage");
        let began = Instant::now();
        let output = stage::run(&Request { proof: self.proof, work }, &Silent).context(stage)?;
        self.stages.push((stage, began.elapsed()));
        Ok(output)
    }
}
