//! A cgroup of one job's own, below one that a person delegated to this user.
//!
//! Both versions of the kernel's interface. Whatever the library below takes for done is looked at again: a job that is
//! to be confined and is not would take what is promised to others, so it must not run at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use cgroups_rs::{Cgroup, cpuset::CpuSetController, hierarchies, memory::MemController};

const CONTROLLERS: [&str; 2] = ["cpuset", "memory"];

/// What a job may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processors, `0-7,64-71`; all of the parent's when absent.
    pub cpus: Option<String>,
    /// NUMA nodes that its memory comes from; all of the parent's when absent.
    pub nodes: Option<String>,
    /// Bytes of memory; the parent's when absent.
    pub memory_max: Option<u64>,
}

/// A job cannot be confined.
#[derive(Debug, thiserror::Error)]
#[error(
    "cgroup {path} cannot be used: {why}; run `deploy/create-cgroup.sh {parent}` as root, for the user of this agent"
)]
pub struct CgroupError {
    path: String,
    parent: String,
    why: String,
}

/// A job's cgroup.
#[derive(Debug)]
pub struct JobCgroup {
    cgroup: Cgroup,
    parent: String,
    folders: Vec<PathBuf>,
}

impl JobCgroup {
    /// Makes it below `parent`, which must be there, and sets its limits.
    ///
    /// # Errors
    ///
    /// The parent is not there, or not this user's, or a limit was not taken.
    pub fn create(parent: &str, name: &str, limits: &Limits) -> Result<Self, CgroupError> {
        let made = Self::open(parent, name);
        made.make(limits).map_err(|why| made.error(why))?;
        Ok(made)
    }

    /// One that an earlier process made, or that is gone.
    #[must_use]
    pub fn open(parent: &str, name: &str) -> Self {
        let path = format!("{parent}/{name}");
        let controllers = CONTROLLERS.map(str::to_owned).to_vec();
        let cgroup = Cgroup::load_with_specified_controllers(hierarchies::auto(), &path, controllers);
        let mut folders: Vec<PathBuf> =
            cgroup.subsystems().iter().map(|subsystem| subsystem.to_controller().path().to_owned()).collect();
        folders.sort();
        folders.dedup();
        Self { cgroup, parent: parent.to_owned(), folders }
    }

    /// Its folder in each hierarchy.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Removes it. One that is gone is what was wanted; one that is in use stays.
    pub fn remove(&self) {
        for folder in &self.folders {
            match fs::remove_dir(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(cgroup = %folder.display(), %error, "remove a cgroup"),
            }
        }
    }

    /// Removes what earlier processes left below `parent`, of those that `is_ours` knows by name; what is in use stays.
    pub fn sweep(parent: &str, is_ours: impl Fn(&str) -> bool) {
        for folder in Self::open(parent, "any").folders.iter().filter_map(|folder| folder.parent()) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(&is_ours) {
                    // Fails for one that has processes, which is the question.
                    let _in_use = fs::remove_dir(entry.path());
                }
            }
        }
    }

    fn make(&self, limits: &Limits) -> Result<(), String> {
        if self.folders.is_empty() {
            return Err("this kernel offers neither cpuset nor memory".to_owned());
        }
        for parent in self.folders.iter().filter_map(|folder| folder.parent()) {
            if !parent.join("cgroup.procs").exists() {
                return Err(format!("{} is no cgroup", parent.display()));
            }
        }
        self.cgroup.create().map_err(said)?;
        for folder in &self.folders {
            // The library only warns where a folder could not be made.
            if !folder.join("cgroup.procs").exists() {
                return Err(format!("{} could not be made", folder.display()));
            }
        }
        self.set(limits)
    }

    fn set(&self, limits: &Limits) -> Result<(), String> {
        let cpuset = |take: &dyn Fn(&CpuSetController) -> Result<(), String>| {
            take(self.cgroup.controller_of().ok_or("the controller cpuset is not delegated")?)
        };
        if let Some(cpus) = &limits.cpus {
            cpuset(&|cpuset| cpuset.set_cpus(cpus).map_err(said))?;
        }
        if let Some(nodes) = &limits.nodes {
            cpuset(&|cpuset| cpuset.set_mems(nodes).map_err(said))?;
        }
        if let Some(bytes) = limits.memory_max {
            let memory: &MemController = self.cgroup.controller_of().ok_or("the controller memory is not delegated")?;
            memory.set_limit(i64::try_from(bytes).unwrap_or(i64::MAX)).map_err(said)?;
        }
        Ok(())
    }

    fn error(&self, why: String) -> CgroupError {
        CgroupError { path: self.cgroup.path().to_owned(), parent: self.parent.clone(), why }
    }
}

fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Moves this process into a cgroup, given its folders, and looks whether it is there.
///
/// # Errors
///
/// It is not.
pub fn enter(folders: &[PathBuf]) -> io::Result<()> {
    let me = std::process::id().to_string();
    for folder in folders {
        let procs = folder.join("cgroup.procs");
        let named = |error: io::Error| io::Error::new(error.kind(), format!("join {}: {error}", folder.display()));
        let mut file = OpenOptions::new().write(true).open(&procs).map_err(named)?;
        file.write_all(me.as_bytes()).map_err(named)?;
        if !members(&procs).any(|pid| pid == me) {
            return Err(io::Error::other(format!("join {}: the kernel did not take it", folder.display())));
        }
    }
    Ok(())
}

fn members(procs: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(procs).unwrap_or_default();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_is_not_there_is_an_error_that_says_what_to_run() {
        let error = JobCgroup::create("sealstream-nowhere", "job", &Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with("cgroup sealstream-nowhere/job cannot be used: "), "{error}");
        assert!(error.contains("deploy/create-cgroup.sh sealstream-nowhere"), "{error}");
    }

    #[test]
    fn a_folder_that_is_no_cgroup_is_not_joined() {
        let dir = tempfile::tempdir().unwrap();
        let error = enter(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("join /"), "{error}");
        assert!(!dir.path().join("cgroup.procs").exists(), "it was made");
    }
}
