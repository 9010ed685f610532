//! What an agent can be told: `agent.toml` in the home, `SEALSTREAM_AGENT_…` variables, flags.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use streams::{
    id::{AgentId, Place},
    stage::Class,
};

use crate::machine::{
    activity::Activity,
    config::{MachineSection, StageSection},
};

/// The environment's prefix; two underscores part a table from its key.
pub(crate) const ENV_PREFIX: &str = "SEALSTREAM_AGENT_";
/// The file's name within the home.
pub(crate) const FILE: &str = "agent.toml";

/// Everything an agent can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// How to reach the queue.
    pub(crate) nats: NatsSection,
    /// The agent's name; `<place>-<first class>` when absent.
    pub(crate) name: Option<AgentId>,
    /// The place; the host's name to its first dot when absent.
    pub(crate) place: Option<Place>,
    /// Classes to serve when no `--class` is given.
    pub(crate) serve: Vec<Class>,
    /// Settings by class.
    pub(crate) classes: BTreeMap<Class, ClassSection>,
    /// What the machine has for this agent.
    pub(crate) machine: MachineSection,
    /// Settings by stage.
    pub(crate) stages: BTreeMap<Activity, StageSection>,
    /// Whether a `-gpu` class may run on the CPU.
    pub(crate) allow_cpu: bool,
    /// Stores to open instead of all initialised ones of this host.
    pub(crate) stores: Vec<PathBuf>,
    /// Bytes of each store that are never promised.
    pub(crate) keep_free_bytes: u64,
    /// What is expected of disks.
    pub(crate) store: crate::store::limits::Limits,
    /// The prover; the one beside this program when absent.
    pub(crate) prover: Option<PathBuf>,
    /// Filter of the log, as `RUST_LOG`, which wins; live.
    pub(crate) log: Option<String>,
    /// How often the agent says that it lives.
    #[serde(with = "host::duration")]
    pub(crate) heartbeat: Duration,
    /// How long a prover may take to end once it is told to.
    #[serde(with = "host::duration")]
    pub(crate) grace: Duration,
    /// Told to stop, the agent leaves its provers at work, and its next run goes on with them: for an update of the agent
    /// itself. They are ended when absent.
    pub(crate) leave_provers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nats: NatsSection::default(),
            name: None,
            place: None,
            serve: Vec::new(),
            classes: BTreeMap::new(),
            machine: MachineSection::default(),
            stages: BTreeMap::new(),
            allow_cpu: false,
            stores: Vec::new(),
            keep_free_bytes: 64 << 20,
            store: crate::store::limits::Limits::default(),
            prover: None,
            log: None,
            heartbeat: Duration::from_secs(20),
            grace: Duration::from_secs(10),
            leave_provers: false,
        }
    }
}

/// How to reach the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NatsSection {
    /// `nats://HOST:PORT`; several servers of one cluster are separated by commas.
    pub(crate) url: String,
    /// How long the first connection may take.
    #[serde(with = "host::duration")]
    pub(crate) connect_timeout: Duration,
    /// How long to wait at the start for the coordinator to lay out the streams.
    #[serde(with = "host::duration")]
    pub(crate) layout_wait: Duration,
}

impl Default for NatsSection {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            connect_timeout: Duration::from_secs(10),
            layout_wait: Duration::from_secs(60),
        }
    }
}

/// Settings of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClassSection {
    /// Tasks at once; from the machine when absent.
    pub(crate) slots: Option<u32>,
    /// How long one prover may run; see [`Config::time_limit`].
    #[serde(with = "host::duration::option")]
    pub(crate) time_limit: Option<Duration>,
}

impl Config {
    /// Slots that were set.
    pub(crate) fn configured_slots(&self) -> BTreeMap<Class, u32> {
        self.classes.iter().filter_map(|(class, section)| Some((*class, section.slots?))).collect()
    }

    /// How long one prover of a class may run. The defaults are several times what a slow machine takes for 64 GiB.
    pub(crate) fn time_limit(&self, class: Class) -> Duration {
        const HOUR: Duration = Duration::from_secs(3600);
        let set = self.classes.get(&class).and_then(|section| section.time_limit);
        set.unwrap_or(match class {
            Class::Pc1Cpu => HOUR * 36,
            Class::Pc2Gpu | Class::C2Gpu | Class::Io => HOUR * 12,
            Class::PostIo | Class::PostGpu => HOUR,
        })
    }
}
