//! A chain with a miner, and a cluster that is to work for it: real programs, each in a process of its own.

use std::{
    fs,
    io::{Read as _, Seek as _, Write as _},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chain::key::{KeyKind, LocalKey};
use devnet::{
    Devnet, Genesis, GenesisMiner, PresealedSector, Preset,
    rpc::{Shared, router},
};
use fvm_shared::econ::TokenAmount;
use prover::Verifier;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use streams::{
    control::InfoRequest,
    id::SectorNumber,
    kv::{Bucket, BucketName},
    nats::Nats,
    proof::{Commitment, SealProof},
    records::AgentRecord,
    testing::{TestServer, wait_for},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::folder::MINER;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const EPOCH: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The variable that names the place at which a program kills itself.
const FAILPOINT: &str = "SEALSTREAM_FAILPOINT";

/// Everything but the folder of sectors.
pub(crate) struct Cluster {
    pub(crate) chain: Shared,
    pub(crate) home: PathBuf,
    /// What every program is told beside its configuration.
    env: Vec<(String, String)>,
    _node: JoinSet<()>,
    pub(crate) server: TestServer,
}

/// What a cluster begins with.
pub(crate) struct Beginning<'a> {
    pub(crate) proof: SealProof,
    /// Sectors that the miner has, of these replicas.
    pub(crate) sectors: &'a [(u64, Commitment)],
    /// What the chain verifies with.
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) env: &'a [(&'a str, &'a str)],
}

/// A program that runs until it is dropped.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone_already = kill_process(Pid::from_child(&self.child), Signal::TERM);
        wait_or_kill(&mut self.child);
        if thread::panicking() {
            eprintln!("== {}\n{}", self.log.display(), fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Waits for the end of a program that was told to stop, or has nothing more to do; whoever does not end is killed.
fn wait_or_kill(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
            return child.wait().unwrap();
        }
        thread::sleep(LOOK_EVERY);
    }
}

impl Program {
    /// Kills it as a power switch would, and leaves its children alone.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until it has killed itself at its failpoint.
    pub(crate) async fn has_died(self) {
        self.has_died_while(async || ()).await;
    }

    /// The same, while something is done again and again.
    pub(crate) async fn has_died_while(self, meanwhile: impl AsyncFnMut()) {
        let status = self.ended(meanwhile).await;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself: {status}");
    }

    /// Waits until it has done what it was to do.
    pub(crate) async fn has_succeeded(self) {
        let status = self.ended(async || ()).await;
        assert!(status.success(), "it ended with {status}");
    }

    async fn ended(mut self, mut meanwhile: impl AsyncFnMut()) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "it did not come to its end, or to its failpoint");
            meanwhile().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Cluster {
    pub(crate) async fn start(root: &Path, beginning: &Beginning<'_>) -> Self {
        let home = root.join("home");
        fs::create_dir_all(&home).unwrap();
        let [worker, owner] = ["coordinator", "poster"].map(|service| {
            let key = LocalKey::generate(KeyKind::Bls).unwrap();
            key.save_new(&home.join(format!("{service}-key.json"))).unwrap();
            key.address()
        });
        let mut genesis = Genesis::of(Preset::Fast);
        genesis.accounts = [worker, owner].map(|address| (address, TokenAmount::from_whole(1_000_000))).to_vec();
        let presealed = |(number, comm_r): &(u64, Commitment)| PresealedSector {
            number: SectorNumber(*number),
            comm_r: *comm_r,
            comm_d: None,
            expiration: 1_000_000,
        };
        genesis.miners = vec![GenesisMiner {
            owner,
            worker,
            proof: beginning.proof,
            funds: TokenAmount::from_whole(100_000),
            sectors: beginning.sectors.iter().map(presealed).collect(),
        }];
        let chain = Shared::new(Devnet::new(genesis, Arc::clone(&beginning.verifier)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = format!("http://{}", listener.local_addr().unwrap());
        let app = router(chain.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });

        let server = TestServer::start().await;
        let url = server.url();
        let common = |service: &str| {
            let key_file = home.join(format!("{service}-key.json"));
            format!("[nats]\nurl = \"{url}\"\n\n[chain]\napi = \"{node}\"\n\n[sender]\nkey_file = {key_file:?}\n")
        };
        let miner = format!("\n[http]\nlisten = \"127.0.0.1:0\"\n\n[[miners]]\nid = \"{MINER}\"\n");
        let agent = format!("place = \"here\"\nallow_cpu = true\nheartbeat = \"1s\"\n\n[nats]\nurl = \"{url}\"\n");
        for (name, text) in [
            ("coordinator.toml", common("coordinator") + &miner),
            ("poster.toml", common("poster")),
            ("agent.toml", agent),
        ] {
            host::durable::write(&home.join(name), text.as_bytes()).unwrap();
        }
        let env = beginning.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { chain, home, env, _node: tasks, server }
    }

    fn command(&self, program: &str) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_coordinator")).with_file_name(program);
        let mut command = Command::new(bin);
        command.env("SEALSTREAM_HOME", &self.home).stdin(Stdio::null());
        command.env("FIL_PROOFS_PARAMETER_CACHE", prover::params::devnet_folder().unwrap());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a program.
    pub(crate) fn spawn(&self, program: &str, args: &[&str]) -> Program {
        self.spawn_with(program, args, &[])
    }

    /// Starts a program that kills itself at a failpoint.
    pub(crate) fn spawn_to_die(&self, program: &str, args: &[&str], failpoint: &str) -> Program {
        self.spawn_with(program, args, &[(FAILPOINT, failpoint)])
    }

    fn spawn_with(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> Program {
        let log = self.home.join(format!("{program}.log"));
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(program);
        command.args(args).envs(env.iter().copied()).stdout(file.try_clone().unwrap()).stderr(file);
        Program { child: command.spawn().unwrap(), log }
    }

    /// Starts to attach a folder, with a prover that never ends; returns once it hangs, with its process.
    pub(crate) async fn hang_attaching(&self, path: &str) -> (Program, u32) {
        let (script, started) = (self.home.join("hanging-prover"), self.home.join("hanging"));
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o700).open(&script).unwrap();
        write!(file, "#!/bin/sh\necho $$ > '{0}.new' && mv '{0}.new' '{0}'\nexec sleep 600\n", started.display())
            .unwrap();
        drop(file);
        let log = self.home.join("hanging.log");
        let talk = fs::File::create(&log).unwrap();
        let mut command = self.command("sealer-agent");
        command.args(["store", "attach", path]).env("SEALSTREAM_AGENT_PROVER", &script);
        let program = Program { child: command.stdout(Stdio::null()).stderr(talk).spawn().unwrap(), log };
        let look = || async { fs::read_to_string(&started).map_err(|e| e.to_string()) };
        let pid = wait_for(LIMIT, look).await.trim().parse().unwrap();
        (program, pid)
    }

    /// Runs a command to its end, which comes within the limit or by force.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Output {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let mut command = self.command(program);
        command.args(args).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let status = wait_or_kill(&mut command.spawn().unwrap());
        let [stdout, stderr] = [stdout, stderr].map(|mut file| {
            let mut text = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut text).unwrap();
            text
        });
        Output { status, stdout, stderr }
    }

    /// Runs a command that answers in JSON; its exit code, its answer and its talk.
    pub(crate) fn ask(&self, program: &str, args: &[&str]) -> (Option<i32>, Value, String) {
        let output = self.run(program, &[args, &["-o", "json"]].concat());
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{program} {args:?}: {e}: {talk}"));
        (output.status.code(), answer, talk)
    }

    pub(crate) async fn nats(&self) -> Nats {
        self.server.connect().await
    }

    /// Starts a coordinator and waits until it leads.
    pub(crate) async fn coordinator(&self) -> Program {
        let coordinator = self.spawn("coordinator", &["run"]);
        self.until_led().await;
        coordinator
    }

    /// Waits until a coordinator leads.
    pub(crate) async fn until_led(&self) {
        let nats = self.nats().await;
        wait_for(LIMIT, || async { nats.ask(&InfoRequest {}, LIMIT).await.map_err(|e| e.to_string()) }).await;
    }

    /// Lets epochs pass until `look` finds what it looks for. While an agent works, the chain stands still: a proof
    /// takes longer than a window of this chain on a slow machine.
    pub(crate) async fn until<T>(&self, limit: i64, look: impl Fn(&Shared) -> Option<T>) -> T {
        let nats = self.nats().await;
        let agents: Bucket<AgentRecord> = Bucket::open(&nats, BucketName::Agents).await.unwrap();
        let mut epochs = tokio::time::interval(EPOCH);
        let last = self.chain.with(|chain| chain.height()) + limit;
        loop {
            if let Some(found) = look(&self.chain) {
                return found;
            }
            epochs.tick().await;
            let at_work = agents.entries(">").await.unwrap().iter().any(|entry| !entry.value.jobs.is_empty());
            if !at_work {
                let chain = Arc::new(self.chain.clone());
                let height =
                    tokio::task::spawn_blocking(move || chain.with(|chain| chain.advance(1).unwrap())).await.unwrap();
                assert!(height < last, "not within {limit} epochs");
            }
        }
    }
}
