//! Keeping a prover to its processors, its memory and its place in the machine.
//!
//! With a delegated cgroup each prover gets one of its own there; without, its processors are all that can be held. Either
//! way it is the prover's process itself that goes in, through this program ([`join`]), before it works: what cannot be
//! confined does not run.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use host::{
    cgroup::{self, JobCgroup, Limits},
    exit::{CliError, Exit},
};
use prover::job::JobResult;
use streams::message::FailureClass;

use super::{
    config::StageSection,
    discover::{Cpus, Host},
};
use crate::config::Config;

/// The failure's code when a prover could not be confined.
pub(crate) const NOT_CONFINED: &str = "not-confined";

/// How provers of one stage are confined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// The delegated cgroup.
    pub(crate) parent: Option<String>,
    /// Sets of processors, of which each job has one by the number of its seat.
    pub(crate) cpus: Vec<Cpus>,
    /// The NUMA node for memory.
    pub(crate) node: Option<u32>,
    /// Memory, held by the kernel.
    pub(crate) memory_max: Option<u64>,
}

/// What a person asked for that this machine cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadConfinement {
    /// A list that is none.
    #[error("stages.{stage}.cpus: {why}")]
    Cpus { stage: String, why: String },
    /// Processors that are not there.
    #[error("stages.{stage}.cpus = \"{asked}\", and this host has processors {there}")]
    NoSuchCpus { stage: String, asked: String, there: String },
    /// A node that is not there.
    #[error("stages.{stage}.numa = {node}, and this host has {count} NUMA nodes")]
    NoSuchNode { stage: String, node: u32, count: usize },
}

impl Confinement {
    /// What a stage's section says, on this host.
    pub(crate) fn of(
        config: &Config,
        stage: &str,
        section: &StageSection,
        host: &Host,
    ) -> Result<Self, BadConfinement> {
        let stage = stage.to_owned();
        let mut cpus = Vec::new();
        for text in &section.cpus {
            let bad =
                |why: super::discover::BadCpus| BadConfinement::Cpus { stage: stage.clone(), why: why.to_string() };
            let set: Cpus = text.parse().map_err(bad)?;
            if set.len() == 0 || !set.is_within(&host.cpus) {
                let there = host.cpus.to_string();
                return Err(BadConfinement::NoSuchCpus { stage, asked: text.clone(), there });
            }
            cpus.push(set);
        }
        if let Some(node) = section.numa {
            let count = host.nodes.len();
            let found = host.nodes.iter().find(|there| there.id == node);
            let found = found.ok_or(BadConfinement::NoSuchNode { stage, node, count })?;
            if cpus.is_empty() {
                // Memory that is touched first here comes from here, cgroup or not.
                cpus.push(found.cpus.clone());
            }
        }
        let parent = config.machine.cgroup.clone();
        let memory_max = parent.as_ref().and(section.memory_max_bytes);
        Ok(Self { parent, cpus, node: section.numa, memory_max })
    }

    /// The processors of a seat.
    fn cpus(&self, seat: usize) -> Option<&Cpus> {
        self.cpus.get(seat.checked_rem(self.cpus.len())?)
    }

    /// The cgroup that an earlier run made for a job.
    pub(crate) fn open(&self, job: &str) -> Option<JobCgroup> {
        Some(JobCgroup::open(self.parent.as_deref()?, job))
    }

    /// Makes what a job needs, and answers the words to begin its command with.
    pub(crate) fn prepare(&self, job: &str, seat: usize) -> anyhow::Result<(Option<JobCgroup>, Vec<OsString>)> {
        let cpus = self.cpus(seat).map(ToString::to_string);
        let mut words: Vec<OsString> = Vec::new();
        let mut made = None;
        if let Some(parent) = &self.parent {
            let (cpus, nodes) = (cpus.clone(), self.node.map(|node| node.to_string()));
            let cgroup = JobCgroup::create(parent, job, &Limits { cpus, nodes, memory_max: self.memory_max })?;
            words.extend(cgroup.folders().iter().flat_map(|folder| ["--cgroup".into(), folder.into()]));
            made = Some(cgroup);
        }
        if let Some(cpus) = cpus {
            words.extend(["--cpus".into(), cpus.into()]);
        }
        if !words.is_empty() {
            words.insert(0, JOIN.into());
            words.push("--".into());
        }
        Ok((made, words))
    }
}

/// Sees at the start whether a delegated cgroup can be used, and removes what earlier jobs left in it.
pub(crate) fn check(parent: &str) -> Result<(), CliError> {
    JobCgroup::sweep(parent, |name| name.parse::<uuid::Uuid>().is_ok());
    let name = format!("check-{}", std::process::id());
    let made = JobCgroup::create(parent, &name, &Limits { memory_max: Some(1 << 30), ..Limits::default() });
    let probe = JobCgroup::open(parent, &name);
    probe.remove();
    made.map(|_| ()).map_err(|error| {
        CliError::new(Exit::Config, format!("machine.cgroup = \"{parent}\": {error}"))
            .hint("or leave machine.cgroup out: then only processors are held")
    })
}

/// The subcommand that provers are started through.
const JOIN: &str = "join";

/// What [`join`] is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArgs {
    /// Folder of a cgroup to go into (repeat for each hierarchy)
    #[arg(long = "cgroup", value_name = "FOLDER")]
    cgroups: Vec<PathBuf>,

    /// Processors to stay on
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,

    /// Program and arguments; the last one is the job directory
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Confines this process and becomes the prover. What cannot be confined does not run: its job is refused.
pub(crate) fn join(args: &JoinArgs) -> Result<(), CliError> {
    let become_it = || -> Result<(), String> {
        cgroup::enter(&args.cgroups).map_err(|error| error.to_string())?;
        if let Some(cpus) = &args.cpus {
            stay_on(cpus)?;
        }
        let mut words = args.command.iter();
        let program = words.next().ok_or("no program")?;
        Err(format!("start {}: {}", Path::new(program).display(), Command::new(program).args(words).exec()))
    };
    let Err(message) = become_it() else { return Ok(()) };
    let refused = JobResult::Refused {
        class: FailureClass::RetryElsewhere,
        code: NOT_CONFINED.to_owned(),
        message: format!("{message} (`deploy/create-cgroup.sh` delegates a cgroup to the agent's user)"),
    };
    if let Some(job) = args.command.last() {
        prover::write_result(Path::new(job), &refused)?;
    }
    Err(CliError::new(Exit::Failure, message))
}

fn stay_on(cpus: &str) -> Result<(), String> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let wanted: Cpus = cpus.parse().map_err(|error: super::discover::BadCpus| error.to_string())?;
    let mut set = CpuSet::new();
    for cpu in wanted.iter().filter_map(|cpu| usize::try_from(cpu).ok()) {
        if cpu >= CpuSet::MAX_CPU {
            return Err(format!("processor {cpu} is more than this program can name"));
        }
        set.set(cpu);
    }
    sched_setaffinity(None, &set).map_err(|error| format!("stay on processors {cpus}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::discover;

    fn confinement(section: &str) -> Result<Confinement, BadConfinement> {
        let section: StageSection = toml::from_str(section).unwrap();
        let cpus = |text: &str| text.parse::<Cpus>().unwrap();
        let node = |id, text| discover::Node { id, cpus: cpus(text), memory_bytes: 1 << 30 };
        let host = Host {
            cpus: cpus("0-15"),
            cores: cpus("0-15"),
            l3: vec![cpus("0-7"), cpus("8-15")],
            nodes: vec![node(0, "0-7"), node(1, "8-15")],
            memory_bytes: 1 << 30,
            gpus: vec![],
        };
        Confinement::of(&Config::default(), "pc1", &section, &host)
    }

    #[test]
    fn seats_go_round_the_sets_of_processors() {
        let pc1 = confinement("cpus = [\"0-3\", \"4-7\"]").unwrap();
        let words = |seat| pc1.prepare("job", seat).unwrap().1;
        assert_eq!(words(0), ["join", "--cpus", "0-3", "--"]);
        assert_eq!(words(1), ["join", "--cpus", "4-7", "--"]);
        assert_eq!(words(2), words(0));
        assert!(confinement("").unwrap().prepare("job", 0).unwrap().1.is_empty(), "nothing to join");
    }

    #[test]
    fn a_node_brings_its_processors() {
        let words = confinement("numa = 1").unwrap().prepare("job", 0).unwrap().1;
        assert_eq!(words, ["join", "--cpus", "8-15", "--"]);
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let said = |section: &str| confinement(section).unwrap_err().to_string();
        assert_eq!(said("cpus = [\"12-19\"]"), "stages.pc1.cpus = \"12-19\", and this host has processors 0-15");
        assert_eq!(said("numa = 2"), "stages.pc1.numa = 2, and this host has 2 NUMA nodes");
        assert!(said("cpus = [\"x\"]").contains("is no list of processors"));
    }
}
