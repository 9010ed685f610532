//! A folder as lotus leaves it: real replicas, and what else lies about.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prover::job::{self, JobResult, Output, Request, Work};
use sha2::{Digest as _, Sha256};
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    message::encode,
    proof::{Bytes32, Commitment, Drawn, SealProof},
};

pub(crate) const MINER: MinerId = MinerId(1000);
pub(crate) const PROOF: SealProof = SealProof::Drg2KiBV1_1;

pub(crate) fn sector(number: u64) -> SectorId {
    SectorId { miner: MINER, number: SectorNumber(number) }
}

/// The folder that another software sealed into.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    bench: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        let (path, bench) = (root.join("lotus"), root.join("bench"));
        for folder in ["sealed", "cache", "unsealed"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        let folder = Self { path, bench };
        folder.file("sectorstore.json", br#"{"ID":"9d2a","Weight":10,"CanSeal":false,"CanStore":true}"#);
        folder
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        host::durable::write(&path, bytes).unwrap();
    }

    /// Seals a sector as far as a replica, and leaves what lotus leaves of it.
    pub(crate) fn seal(&self, number: u64) -> Commitment {
        let work = self.bench.join(number.to_string());
        let (cache, sealed, pc1_output) = (work.join("cache"), work.join("sealed"), work.join("pc1.json"));
        fs::create_dir_all(&cache).unwrap();
        let ticket = Drawn { epoch: 10, value: Bytes32([u8::try_from(number).unwrap(); 32]) };
        let run = |stage: Work| run(&work, stage);
        run(Work::TreeD { staged: None, cache: cache.clone() });
        run(Work::Pc1 {
            sector: sector(number),
            ticket,
            pieces: vec![],
            staged: None,
            cache: cache.clone(),
            sealed: sealed.clone(),
            pc1_output: pc1_output.clone(),
        });
        let pc2 = Work::Pc2 {
            sector: sector(number),
            pc1_output,
            staged: None,
            cache: cache.clone(),
            sealed: sealed.clone(),
        };
        let Output::Pc2 { comm_r, .. } = run(pc2) else { panic!("no replica") };
        let name = sector(number).file_name();
        self.file(&format!("sealed/{name}"), &fs::read(&sealed).unwrap());
        for entry in fs::read_dir(&cache).unwrap().flatten() {
            let part = entry.file_name().into_string().unwrap();
            if part == "p_aux" || part == "t_aux" || part.starts_with("sc-02-data-tree-r-last") {
                self.file(&format!("cache/{name}/{part}"), &fs::read(entry.path()).unwrap());
            }
        }
        comm_r
    }

    /// The files of one sector under the name of another.
    pub(crate) fn copy(&self, from: u64, to: u64) {
        let (from, to) = (sector(from).file_name(), sector(to).file_name());
        self.file(&format!("sealed/{to}"), &fs::read(self.at(&format!("sealed/{from}"))).unwrap());
        for entry in fs::read_dir(self.at(&format!("cache/{from}"))).unwrap().flatten() {
            let part = entry.file_name().into_string().unwrap();
            self.file(&format!("cache/{to}/{part}"), &fs::read(entry.path()).unwrap());
        }
    }

    /// Changes one byte of a replica, and back when it is done again.
    pub(crate) fn flip(&self, number: u64) {
        let path = self.at(&format!("sealed/{}", sector(number).file_name()));
        let mut bytes = fs::read(&path).unwrap();
        bytes[777] ^= 1;
        host::durable::write(&path, &bytes).unwrap();
    }

    /// Digests of every file of sectors.
    pub(crate) fn digests(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders: Vec<PathBuf> =
            ["sealed", "cache", "unsealed", "update"].map(|name| self.at(name)).into_iter().collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.insert(entry.path(), Sha256::digest(fs::read(entry.path()).unwrap()).to_vec());
                }
            }
        }
        found
    }
}

fn run(folder: &Path, work: Work) -> Output {
    let job = folder.join(format!("job-{}", work.name()));
    fs::create_dir_all(&job).unwrap();
    host::durable::write(&job.join(job::REQUEST), &encode(&Request { proof: PROOF, work }).unwrap()).unwrap();
    match prover::run_job(&job).unwrap() {
        JobResult::Done { output, .. } => output,
        JobResult::Refused { code, message, .. } => panic!("{code}: {message}"),
    }
}
