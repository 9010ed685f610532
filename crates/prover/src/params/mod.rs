//! Groth16 parameters for devnets, generated offline from a seed that everybody knows.
//!
//! Who knows the seed can prove anything, so these parameters are for the embedded devnet and for tests alone. Three
//! things keep them there: their own folder, a notice file in it, and [`refuse_devnet_parameters`], which recognises a
//! verifying key made from this seed whatever circuit it is for.
//!
//! Real networks use the published parameters, fetched once by the operator.

mod assembly;
mod circuit;
mod fixed_base;
mod generator;
mod trapdoor;

use std::{
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use streams::proof::SealProof;

pub use circuit::Circuit;
pub use generator::Step;

use crate::parent_cache;

/// The seed of all devnet parameters. The same seed gives the same bytes on every machine.
pub const DEVNET_SEED: u64 = 0;

/// The networks that may use devnet parameters.
pub const DEVNET_NETWORKS: [&str; 2] = ["sealstream-fast", "sealstream-mainnet-preset"];

/// The notice beside devnet parameters.
pub const NOTICE_FILE: &str = "INSECURE-DEVNET-PARAMETERS";

const NOTICE: &str = "These Groth16 parameters were generated from a public seed by `prover params`.\n\
Whoever knows the seed can forge proofs: they are for a Sealstream devnet and its tests only.\n\
A coordinator of any other network refuses to start with them.\n";

const LOCK_FILE: &str = ".lock";

/// How long to wait for another process that generates into the same folder.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(3600);

/// What can go wrong around parameters.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// Devnet parameters on a network that is not a devnet.
    #[error("{} was made from the public devnet seed, and this network is {network}: anyone could forge proofs against it", file.display())]
    DevnetParameters {
        /// The verifying key.
        file: PathBuf,
        /// The network.
        network: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where caches go.
    #[error("find the folder for devnet parameters: neither XDG_CACHE_HOME nor HOME is set")]
    NoCacheFolder,
    /// The circuit could not be built.
    #[error("build the {circuit} circuit for {proof} sectors: {reason}")]
    Circuit {
        /// Which circuit.
        circuit: Circuit,
        /// For which sectors.
        proof: SealProof,
        /// What the library said.
        reason: String,
    },
    /// The disk.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ParamsError {
    let path = path.to_owned();
    move |source| ParamsError::Io { doing, path, source }
}

/// Where devnet parameters live: `$XDG_CACHE_HOME` (by default `~/.cache`) `/sealstream/devnet-parameters`.
pub fn devnet_folder() -> Result<PathBuf, ParamsError> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or(ParamsError::NoCacheFolder)?.join("sealstream").join("devnet-parameters"))
}

/// The folder the library reads parameters from in this process: `FIL_PROOFS_PARAMETER_CACHE`, or its default.
#[must_use]
pub fn folder_in_use() -> PathBuf {
    storage_proofs_core::parameter_cache::parameter_cache_dir()
}

/// What happens while parameters are made, for a person.
#[derive(Debug)]
pub enum Event {
    /// Another process generates into the folder.
    Waiting,
    /// The files of a circuit are already there.
    Present(Circuit),
    /// A circuit is being worked on.
    Working(Circuit, Step),
    /// The files of a circuit were written.
    Written {
        /// Which.
        circuit: Circuit,
        /// How long it took.
        took: Duration,
    },
}

/// Makes the devnet parameters (and verifying keys) that `folder` lacks.
pub fn ensure(
    proof: SealProof,
    circuits: &[Circuit],
    folder: &Path,
    mut on_event: impl FnMut(Event),
) -> Result<(), ParamsError> {
    generate_missing(proof, circuits, folder, true, &mut on_event)
}

/// Makes the devnet verifying keys that `folder` lacks: seconds and kilobytes, and enough to verify.
pub fn ensure_verifying_keys(proof: SealProof, circuits: &[Circuit], folder: &Path) -> Result<(), ParamsError> {
    generate_missing(proof, circuits, folder, false, &mut |_| ())
}

fn generate_missing(
    proof: SealProof,
    circuits: &[Circuit],
    folder: &Path,
    with_params: bool,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), ParamsError> {
    host::durable::create_dir_all(folder).map_err(io("create folder", folder))?;
    let lock_path = folder.join(LOCK_FILE);
    let mut told = false;
    let on_wait = || {
        if !std::mem::replace(&mut told, true) {
            on_event(Event::Waiting);
        }
    };
    let _lock = parent_cache::lock_within(&lock_path, LOCK_WAIT_MAX, on_wait).map_err(io("lock", &lock_path))?;
    let notice = folder.join(NOTICE_FILE);
    host::durable::write(&notice, NOTICE.as_bytes()).map_err(io("write", &notice))?;
    for &circuit in circuits {
        let files = circuit.files(proof, folder)?;
        if files.verifying_key.exists() && (!with_params || files.params.exists()) {
            on_event(Event::Present(circuit));
            continue;
        }
        let began = Instant::now();
        let made = circuit.generate(proof, with_params, &mut |step| on_event(Event::Working(circuit, step)))?;
        if let Some(params) = &made.params {
            publish(&files.params, |file| params.write(file))?;
        }
        publish(&files.verifying_key, |file| made.verifying_key.write(file))?;
        on_event(Event::Written { circuit, took: began.elapsed() });
    }
    Ok(())
}

/// Writes beside, syncs, renames: the library would take a torn file for a whole one.
fn publish(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<(), ParamsError> {
    let temporary = path.with_extension("tmp");
    let file = File::create(&temporary).map_err(io("create", &temporary))?;
    let mut buffered = BufWriter::with_capacity(1 << 20, file);
    write(&mut buffered).map_err(io("write", &temporary))?;
    buffered.flush().map_err(io("write", &temporary))?;
    buffered.get_ref().sync_all().map_err(io("sync", &temporary))?;
    host::durable::rename(&temporary, path).map_err(io("rename into", path))
}

/// Refuses verifying keys made from the devnet seed on any network but a devnet, in the folder in use.
pub fn refuse_devnet_parameters(network: &str) -> Result<(), ParamsError> {
    refuse_in(network, &folder_in_use())
}

fn refuse_in(network: &str, folder: &Path) -> Result<(), ParamsError> {
    if DEVNET_NETWORKS.contains(&network) {
        return Ok(());
    }
    let known = trapdoor::devnet_key_headers();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("list", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(io("list", folder))?.path();
        if path.extension().is_some_and(|e| e == "vk") {
            let mut header = Vec::new();
            let length = u64::try_from(trapdoor::KEY_HEADER_LEN).unwrap_or(u64::MAX);
            File::open(&path).and_then(|file| file.take(length).read_to_end(&mut header)).map_err(io("read", &path))?;
            if known.contains(&header) {
                return Err(ParamsError::DevnetParameters { file: path, network: network.to_owned() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devnet_key_is_refused_on_any_other_network() {
        let folder = tempfile::tempdir().unwrap();
        refuse_in("mainnet", folder.path()).unwrap();
        ensure_verifying_keys(SealProof::Drg2KiBV1_1, &[Circuit::WindowPost], folder.path()).unwrap();
        let refusal = refuse_in("mainnet", folder.path()).unwrap_err();
        assert!(matches!(refusal, ParamsError::DevnetParameters { .. }), "{refusal}");
        refuse_in("sealstream-fast", folder.path()).unwrap();
    }

    #[test]
    fn a_key_of_unknown_origin_is_not_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v28-other.vk");
        host::durable::write(&path, &[7; 4096]).unwrap();
        refuse_in("mainnet", folder.path()).unwrap();
    }
}
