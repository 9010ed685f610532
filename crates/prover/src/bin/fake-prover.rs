//! `fake-prover <job-dir>`: the job directory of `prover`, with proofs that prove nothing and failures by a script.
//!
//! The script is the JSON file that `SEALSTREAM_FAKE_PROVER_SCRIPT` names:
//!
//! ```json
//! { "pc1": { "delay_ms": 200, "times": 1, "end": { "is": "refuse", "class": "retry-here", "code": "no-space" } },
//!   "c2":  { "times": 1, "end": { "is": "crash", "signal": 9 } },
//!   "pc2": { "end": { "is": "hang" } } }
//! ```
//!
//! When a file `<script>.times` lies beside the script, each run appends a line to it as it begins and one when its result
//! is written: `begin pc1 1790000000000 <cache folder>`.
//!
//! `times` is how many runs of a stage end that way before it works (without it: all); the count is kept in files
//! beside the script.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use host::clock::{Clock as _, SystemClock};
use prover::{
    Silent, fake,
    job::{JobResult, Output, RESULT, Request, Work},
    read_request, stage, write_result,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use streams::{
    message::FailureClass,
    proof::{Bytes32, Commitment, ProofBytes},
};

const SCRIPT: &str = "SEALSTREAM_FAKE_PROVER_SCRIPT";

/// What is scripted for a stage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    #[serde(default)]
    delay_ms: u64,
    times: Option<u32>,
    end: Option<End>,
}

/// An end other than success.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
enum End {
    Refuse {
        class: FailureClass,
        code: String,
    },
    Crash {
        signal: i32,
    },
    Hang,
    /// A result that is no JSON, and an exit code that says that all went well.
    Garbage,
    /// Much talk on stdout; then it works.
    Flood,
}

/// What a flood writes: more than an agent keeps of a prover's log.
const FLOOD_BYTES: usize = 24 << 20;

fn main() -> ExitCode {
    host::exit::main_with(|| {
        let job = std::env::args_os().nth(1).map(PathBuf::from).context("usage: fake-prover <job-dir>")?;
        Ok(play(&job)?)
    })
}

fn play(job: &Path) -> anyhow::Result<()> {
    let request = read_request(job)?;
    let script = std::env::var_os(SCRIPT).map(PathBuf::from);
    note(script.as_deref(), "begin", &request)?;
    let scene = match &script {
        Some(path) => read_scene(path, request.work.name())?,
        None => Scene::default(),
    };
    thread::sleep(Duration::from_millis(scene.delay_ms));
    let due = match (&script, &scene.end) {
        (Some(script), Some(end)) if is_due(script, request.work.name(), scene.times)? => Some(end),
        _ => None,
    };
    let result = match due {
        Some(End::Refuse { class, code }) => {
            JobResult::Refused { class: *class, code: code.clone(), message: "as the script says".to_owned() }
        }
        Some(End::Crash { signal }) => return crash(*signal),
        Some(End::Hang) => loop {
            thread::park();
        },
        Some(End::Garbage) => return Ok(host::durable::write(&job.join(RESULT), b"{\"v\":1,\"is\":\"do")?),
        Some(End::Flood) => {
            flood()?;
            JobResult::Done { output: fake_output(&request)?, work_ms: scene.delay_ms }
        }
        None => JobResult::Done { output: fake_output(&request)?, work_ms: scene.delay_ms },
    };
    write_result(job, &result)?;
    note(script.as_deref(), "end", &request)
}

/// Says when, if anybody wants to know.
fn note(script: Option<&Path>, what: &str, request: &Request) -> anyhow::Result<()> {
    let Some(times) = script.map(|script| script.with_extension("times")).filter(|times| times.exists()) else {
        return Ok(());
    };
    let cache = match &request.work {
        Work::Pc1 { cache, .. } | Work::Pc2 { cache, .. } => cache.display().to_string(),
        _ => "-".to_owned(),
    };
    let line = format!("{what} {} {} {cache}\n", request.work.name(), SystemClock.now_unix_ms());
    let mut file = std::fs::File::options().append(true).open(&times).context("open the times")?;
    file.write_all(line.as_bytes()).context("note a time")
}

fn read_scene(script: &Path, stage: &str) -> anyhow::Result<Scene> {
    let bytes = host::durable::read(script)?.with_context(|| format!("{} is missing", script.display()))?;
    let mut scenes: BTreeMap<String, Scene> =
        serde_json::from_slice(&bytes).with_context(|| format!("read {}", script.display()))?;
    Ok(scenes.remove(stage).unwrap_or_default())
}

/// Whether this run is among the first `times`. Each takes the next free number by creating a file.
fn is_due(script: &Path, stage: &str, times: Option<u32>) -> anyhow::Result<bool> {
    let Some(times) = times else { return Ok(true) };
    for number in 1..=times {
        match host::durable::write_new(&script.with_extension(format!("{stage}.{number}")), b"played\n") {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn flood() -> anyhow::Result<()> {
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut out = std::io::stdout().lock();
    for _ in 0..FLOOD_BYTES / line.len() {
        out.write_all(&line).context("flood stdout")?;
    }
    Ok(())
}

fn crash(signal: i32) -> anyhow::Result<()> {
    let signal = rustix::process::Signal::from_named_raw(signal).context("no such signal")?;
    rustix::process::kill_process(rustix::process::getpid(), signal).context("send the signal")
}

/// Real data and CommD, since they are cheap and others compute them again; everything else is made up.
fn fake_output(request: &Request) -> anyhow::Result<Output> {
    let proof = request.proof;
    Ok(match &request.work {
        Work::AddPiece { .. } | Work::TreeD { .. } => stage::run(request, &Silent)?,
        Work::Pc1 { sector, ticket, pieces, staged, cache, sealed, pc1_output } => {
            host::durable::create_dir_all(cache)?;
            let comm_d = prover::comm_d(proof, pieces)?;
            put(&cache.join("t_aux"), b"fake")?;
            copy_staged(staged.as_deref(), sealed, proof.sector_size())?;
            let digest = Sha256::new().chain_update(sector.key()).chain_update(ticket.value.0);
            let comm_r = digest.chain_update(comm_d.0).finalize();
            put(pc1_output, &serde_json::to_vec(&(comm_d, element(comm_r.into())))?)?;
            Output::Pc1 {}
        }
        Work::Pc2 { pc1_output, cache, .. } => {
            let bytes = host::durable::read(pc1_output)?.context("PC1 output is missing")?;
            let (comm_d, comm_r): (Commitment, Commitment) = serde_json::from_slice(&bytes)?;
            put(&cache.join("p_aux"), b"fake")?;
            put(&cache.join("sc-02-data-tree-r-last.dat"), b"fake")?;
            Output::Pc2 { comm_d, comm_r }
        }
        Work::C1 { c1_output, .. } => {
            put(c1_output, b"fake")?;
            Output::C1 {}
        }
        Work::C2 { sector, comm_d, comm_r, ticket, seed, .. } => {
            let statement = prover::SealStatement {
                proof,
                miner: sector.miner,
                number: sector.number,
                comm_r: *comm_r,
                comm_d: *comm_d,
                ticket: *ticket,
                seed: *seed,
            };
            Output::C2 { proof: ProofBytes(fake::seal_proof(&statement)) }
        }
        Work::Finalize { .. } => Output::Finalize {},
        Work::VanillaPost { sectors, output, .. } => {
            let (here, lost): (Vec<_>, Vec<_>) = sectors.iter().partition(|replica| replica.sealed.is_file());
            put(output, &serde_json::to_vec(&vec!["ZmFrZQ=="; here.len()])?)?;
            Output::VanillaPost {
                proven: here.iter().map(|replica| replica.number).collect(),
                bad: lost.iter().map(|replica| (replica.number, "the replica is missing".to_owned())).collect(),
            }
        }
        Work::WindowPost { miner, randomness, sectors, .. } => {
            let (miner, randomness, sectors) = (*miner, *randomness, sectors.clone());
            let statement = prover::WindowPostStatement { proof, miner, randomness, sectors };
            Output::WindowPost { proof: ProofBytes(fake::window_post_proof(&statement)) }
        }
        Work::Unseal { sealed, output, offset_unpadded, length_unpadded, .. } => {
            unpad(sealed, output, *offset_unpadded, *length_unpadded)?;
            Output::Unseal {}
        }
    })
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Ok(host::durable::write(path, bytes)?)
}

/// A fake replica is the staged data itself.
fn copy_staged(staged: Option<&Path>, sealed: &Path, size: u64) -> anyhow::Result<()> {
    match staged {
        Some(staged) => {
            let _digest = host::durable::copy_with_sha256(staged, sealed)?;
        }
        None => std::fs::File::create(sealed)?.set_len(size)?,
    }
    Ok(())
}

fn unpad(sealed: &Path, output: &Path, offset: u64, length: u64) -> anyhow::Result<()> {
    let bytes = std::fs::read(sealed).with_context(|| format!("read {}", sealed.display()))?;
    let mut out = Vec::new();
    let (offset, length) = (usize::try_from(offset)?, usize::try_from(length)?);
    filecoin_proofs_api::fr32::write_unpadded(&bytes, &mut out, offset, length)?;
    put(output, &out)
}

/// Commitments are field elements.
fn element(mut bytes: [u8; 32]) -> Commitment {
    if let Some(last) = bytes.last_mut() {
        *last &= 0x3f;
    }
    Bytes32(bytes)
}
