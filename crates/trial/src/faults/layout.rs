//! What the trial's cluster consists of, and what each process is told.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use chain::key::{KeyKind, LocalKey};
use host::exit::{CliError, Exit};
use serde_json::{Value, json};
use streams::id::MinerId;

use super::small::Small;

/// Where everything is, and how fast everything goes.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The folder of the programs.
    pub(super) bin: PathBuf,
    /// The folder of this run.
    pub(super) dir: PathBuf,
    /// The folder of proof parameters.
    pub(super) params: PathBuf,
    pub(super) pace: Pace,
    /// Marks every process of this run, children of children included.
    pub(super) mark: String,
    pub(super) real_proofs: bool,
    /// Servers of the queue, and copies of every stream: 1 or 3.
    pub(super) servers: usize,
    pub(super) agents: &'static [AgentPlan],
    /// What agents are told beside where they are.
    pub(super) machine: Machine,
}

/// A machine that agents are told to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// Two slots of each class, no GPU.
    Plain,
    /// Four slots of PC1 and one GPU.
    OneGpu,
}

/// Time-outs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) epoch: Duration,
    /// None: the shipped default.
    pub(super) ack_wait: Option<Duration>,
    pub(super) reconcile: Option<Duration>,
    /// How long a fake stage takes.
    pub(super) stage: Duration,
}

/// Where a coordinator finds the others, and they find it.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) nats: String,
    pub(super) chain: String,
    /// Its own: pieces have to be where they were after a restart.
    pub(super) port: u16,
}

/// The variable by which processes of a run are found.
pub(super) const MARK: &str = "SEALSTREAM_TRIAL";
/// How long a coordinator leads after it died, scaled down like everything else.
const LEASE: &str = "3s";
/// FIL given to each key at genesis.
const FUNDS: u64 = 1_000_000;

/// An agent of the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentPlan {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) classes: &'static [&'static str],
}

const SEALS: &[&str] = &["pc1-cpu", "pc2-gpu", "post-io"];
const SNARKS: &[&str] = &["c2-gpu", "post-gpu"];

/// One agent that does everything.
pub(super) const ONE: [AgentPlan; 1] =
    [AgentPlan { name: "one", place: "one", classes: &["pc1-cpu", "pc2-gpu", "c2-gpu", "post-io", "post-gpu"] }];

/// Two agents on each of two places, and two that hold no files.
pub(super) const AGENTS: [AgentPlan; 6] = [
    AgentPlan { name: "east-1", place: "east", classes: SEALS },
    AgentPlan { name: "east-2", place: "east", classes: SEALS },
    AgentPlan { name: "west-1", place: "west", classes: SEALS },
    AgentPlan { name: "west-2", place: "west", classes: SEALS },
    AgentPlan { name: "snark-1", place: "snark", classes: SNARKS },
    AgentPlan { name: "snark-2", place: "snark", classes: SNARKS },
];

impl Layout {
    /// Looks for the programs beside this one.
    pub(super) fn new(dir: &Path, pace: Pace, mark: &str, real_proofs: bool) -> Result<Self, CliError> {
        let exe = std::env::current_exe().context("find this program")?;
        let bin = exe.parent().context("find this program's folder")?.to_path_buf();
        for program in
            ["coordinator", "devnet", "sealer-agent", "poster", "prover", "fake-prover", "recorder", "checker"]
        {
            if !bin.join(program).exists() {
                let message = format!("program {program} is not beside {}", exe.display());
                let hint = "cargo build --workspace --bins --locked --features prover/fake-proofs,host/failpoints";
                return Err(CliError::new(Exit::NotFound, message).hint(hint));
            }
        }
        let params = match std::env::var_os("FIL_PROOFS_PARAMETER_CACHE") {
            Some(folder) => folder.into(),
            None => dir.join("parameters"),
        };
        let (dir, mark) = (dir.to_owned(), mark.to_owned());
        Ok(Self { bin, dir, params, pace, mark, real_proofs, servers: 1, agents: &AGENTS, machine: Machine::Plain })
    }

    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.dir.join("home").join(name)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.evidence().join("logs").join(format!("{name}.log"))
    }

    pub(super) fn key_file(&self, role: &str) -> PathBuf {
        self.dir.join("keys").join(format!("{role}.json"))
    }

    pub(super) fn nats_dir(&self) -> PathBuf {
        self.dir.join("nats")
    }

    pub(super) fn evidence(&self) -> PathBuf {
        self.dir.join("evidence")
    }

    /// A place's local or persistent store.
    pub(super) fn store(&self, place: &str, kind: &str) -> PathBuf {
        self.dir.join("stores").join(format!("{place}-{kind}"))
    }

    /// The hosts of its agents.
    pub(super) fn places(&self) -> BTreeSet<&'static str> {
        self.agents.iter().map(|plan| plan.place).collect()
    }

    /// What a place's fake provers are told.
    pub(super) fn script(&self, place: &str) -> PathBuf {
        self.home(place).join("script.json")
    }

    /// Gives one place a local store that can be filled, where this user may mount one.
    pub(super) fn small_store(&self) -> anyhow::Result<Option<Small>> {
        let dir = self.store(super::inject::SMALL, "local");
        host::durable::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Small::mount(&dir))
    }

    pub(super) fn create(&self) -> anyhow::Result<()> {
        for dir in ["keys", "stores", "evidence/logs", "home"] {
            host::durable::create_dir_all(&self.dir.join(dir)).with_context(|| format!("create {dir}"))?;
        }
        Ok(())
    }

    /// What every process of the run gets.
    pub(super) fn env(&self, home: &str) -> Vec<(OsString, OsString)> {
        let mut env: Vec<(OsString, OsString)> = vec![
            ("SEALSTREAM_HOME".into(), self.home(home).into()),
            ("FIL_PROOFS_PARAMETER_CACHE".into(), self.params.clone().into()),
            (MARK.into(), self.mark.clone().into()),
            ("SEALSTREAM_FAKE_PROVER_SCRIPT".into(), self.script(home).into()),
        ];
        if !self.real_proofs {
            env.push(("SEALSTREAM_FAKE_PROOFS".into(), "1".into()));
        }
        env
    }

    /// Makes a key and returns its address.
    pub(super) fn make_key(&self, role: &str) -> anyhow::Result<String> {
        let key = LocalKey::generate(KeyKind::Bls).context("make a key")?;
        key.save_new(&self.key_file(role)).context("store a key")?;
        Ok(chain::address::print(&key.address()))
    }

    /// Arguments of the devnet: its epochs pass when the trial says so.
    pub(super) fn devnet_args(&self, addresses: &[String], port: u16) -> Vec<OsString> {
        let mut args: Vec<OsString> = ["--preset", "fast", "--clock", "manual", "--listen"].map(Into::into).into();
        args.push(format!("127.0.0.1:{port}").into());
        args.extend(["--data".into(), self.dir.join("devnet").into()]);
        args.extend(["--log".into(), self.evidence().join(crate::evidence::CHAIN).into()]);
        args.extend(["--ready-file".into(), self.dir.join("devnet.json").into()]);
        for address in addresses {
            args.extend(["--fund".into(), format!("{address}={FUNDS}").into()]);
        }
        args
    }

    /// Writes a coordinator's configuration.
    pub(super) fn configure_coordinator(
        &self,
        name: &str,
        to: &Endpoints,
        miner: Option<MinerId>,
    ) -> anyhow::Result<()> {
        let Endpoints { nats, chain, port } = to;
        let mut config = json!({
            "nats": { "url": nats, "connect_timeout": "3s" },
            "chain": { "api": chain, "timeout": "3s" },
            "sender": { "key_file": self.key_file("coordinator") },
            "http": { "listen": format!("127.0.0.1:{port}") },
            "sector": { "attempts_max": 6 },
            "queue": { "replicas": self.servers },
            "lease": { "ttl": LEASE },
            "miners": miner.map(|id| json!({ "id": id })).into_iter().collect::<Vec<_>>(),
        });
        if let Some(ack_wait) = self.pace.ack_wait {
            set(&mut config, "/queue", "ack_wait", &duration(ack_wait));
        }
        if let Some(reconcile) = self.pace.reconcile {
            set(&mut config, "", "reconcile_interval", &duration(reconcile));
        }
        self.write(name, "coordinator.toml", &config)
    }

    pub(super) fn configure_poster(&self, name: &str, nats: &str, chain: &str) -> anyhow::Result<()> {
        let config = json!({
            "nats": { "url": nats, "connect_timeout": "10s" },
            "chain": { "api": chain, "timeout": "3s" },
            "sender": { "key_file": self.key_file("poster") },
            "post": { "lease_ttl": "2s", "check_interval": "1s", "submit_confidence": 1 },
        });
        self.write(name, "poster.toml", &config)
    }

    pub(super) fn configure_place(&self, place: &str) -> anyhow::Result<()> {
        let prover = if self.real_proofs { "prover" } else { "fake-prover" };
        let slots = |pc1: u32, gpu: u32| json!({ "pc1-cpu": { "slots": pc1, "time_limit": "30m" }, "pc2-gpu": { "slots": gpu }, "c2-gpu": { "slots": gpu } });
        let (classes, machine) = match self.machine {
            Machine::Plain => (slots(2, 2), json!({})),
            Machine::OneGpu => (slots(4, 1), json!({ "gpus": 1 })),
        };
        let config = json!({
            "place": place,
            "allow_cpu": true,
            "heartbeat": "1s",
            "grace": "2s",
            "keep_free_bytes": 0,
            "prover": self.bin.join(prover),
            "nats": { "connect_timeout": "3s", "layout_wait": "20s" },
            "classes": classes,
            "machine": machine,
        });
        self.write(place, "agent.toml", &config)
    }

    fn write(&self, home: &str, file: &str, config: &Value) -> anyhow::Result<()> {
        let home = self.home(home);
        host::durable::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
        let path = home.join(file);
        let text = toml::to_string(config).with_context(|| format!("write {file} as TOML"))?;
        host::durable::write(&path, text.as_bytes()).with_context(|| format!("write {}", path.display()))
    }
}

fn set(config: &mut Value, table: &str, key: &str, value: &str) {
    if let Some(table) = config.pointer_mut(table).and_then(Value::as_object_mut) {
        table.insert(key.to_owned(), json!(value));
    }
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}
