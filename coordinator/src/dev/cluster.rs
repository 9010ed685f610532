//! The processes of a development cluster: started in order, stopped in reverse.

use std::{
    ffi::OsString,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chain::key::{KeyKind, LocalKey};
use host::{
    exit::{CliError, Exit},
    job::{Job, JobEnd, JobSpec, Kin, Watch},
};
use streams::server::{ServerOptions, ServerProcess, find_or_install};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a program may take to stop after TERM.
const GRACE: Duration = Duration::from_secs(15);
/// How long a program may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// The programs a cluster can lose and go on.
const AGENTS: [&str; 2] = ["sealer", "snarker"];
/// FIL given to the keys of the demo at genesis.
const FUNDS: u64 = 1_000_000;

/// A program that runs until it is told to stop.
struct Running {
    name: &'static str,
    token: CancellationToken,
}

/// Everything `coordinator dev` started.
pub(super) struct Cluster {
    began: Instant,
    bin: PathBuf,
    dir: PathBuf,
    params: PathBuf,
    nats: Option<ServerProcess>,
    chain_url: String,
    poster_address: String,
    running: Vec<Running>,
    ended: JoinSet<(&'static str, JobEnd)>,
}

impl Cluster {
    /// Nothing is started yet.
    pub(super) fn new(dir: &Path, began: Instant) -> Result<Self, CliError> {
        let exe = std::env::current_exe().context("find this program")?;
        let bin = exe.parent().context("find this program's folder")?.to_path_buf();
        for program in ["devnet", "sealer-agent", "poster", "prover"] {
            if !bin.join(program).exists() {
                let message = format!("program {program} is not beside {}", exe.display());
                return Err(CliError::new(Exit::NotFound, message).hint("build all of them: make build"));
            }
        }
        let params = prover::params::devnet_folder().context("find the parameter cache")?;
        Ok(Self {
            began,
            bin,
            dir: dir.to_path_buf(),
            params,
            nats: None,
            chain_url: String::new(),
            poster_address: String::new(),
            running: Vec::new(),
            ended: JoinSet::new(),
        })
    }

    /// Starts everything and waits until each part is ready for the next.
    pub(super) async fn start(&mut self) -> Result<(), CliError> {
        host::durable::create_dir_all(&self.home().join("keys")).context("create the home folder")?;
        host::durable::create_dir_all(&self.logs()).context("create the log folder")?;
        self.step("proof parameters for 2 KiB sectors (made once per machine; insecure, for devnets alone)");
        self.finish("prover", &["params", "--sector-size", "2KiB"]).await?;
        self.start_nats().await?;
        self.start_chain().await?;
        self.configure().await?;
        self.step("coordinator, two agents, poster");
        self.spawn("coordinator", "coordinator", &["run"])?;
        self.until_answered().await?;
        let store = |name: &str| self.dir.join("stores").join(name).display().to_string();
        let (fast, safe) = (store("local"), store("persistent"));
        self.finish("sealer-agent", &["store", "init", &fast]).await?;
        self.finish("sealer-agent", &["store", "init", "--persistent", &safe]).await?;
        self.spawn("sealer", "sealer-agent", &["--name", "sealer", "--class", "pc1-cpu", "--class", "pc2-gpu"])?;
        let snark = ["--name", "snarker", "--class", "c2-gpu", "--class", "post-io", "--class", "post-gpu"];
        self.spawn("snarker", "sealer-agent", &snark)?;
        self.spawn("poster", "poster", &["run"])
    }

    async fn start_nats(&mut self) -> Result<(), CliError> {
        self.step("nats-server with JetStream, sync_interval: always");
        let unavailable = |e| CliError::new(Exit::Unavailable, "start nats-server").because(e);
        find_or_install().await.map_err(unavailable)?;
        let options = ServerOptions {
            dir: self.dir.join("nats"),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            die_with_parent: false,
        };
        self.nats = Some(ServerProcess::start(options).await.map_err(unavailable)?);
        Ok(())
    }

    async fn start_chain(&mut self) -> Result<(), CliError> {
        self.step("devnet: the real miner actor's state code, real verification, 1 s epochs");
        let sealer = self.make_key("coordinator")?;
        self.poster_address = self.make_key("poster")?;
        let funds = [sealer, self.poster_address.clone()].map(|address| format!("{address}={FUNDS}"));
        let ready = self.dir.join("devnet.json");
        let (data, ready_text) = (self.dir.join("devnet").display().to_string(), ready.display().to_string());
        let mut args =
            vec!["--preset", "fast", "--listen", "127.0.0.1:0", "--data", &data, "--ready-file", &ready_text];
        for fund in &funds {
            args.extend(["--fund", fund]);
        }
        self.spawn("devnet", "devnet", &args)?;
        let text = self.until("the devnet's ready file", || std::fs::read_to_string(&ready).ok()).await?;
        let value: serde_json::Value = serde_json::from_str(&text).context("read the devnet's ready file")?;
        value
            .get("url")
            .and_then(|u| u.as_str())
            .context("the devnet's ready file has no url")?
            .clone_into(&mut self.chain_url);
        Ok(())
    }

    /// Makes a key and returns its address. BLS, since the actor asks for that of a miner's worker.
    fn make_key(&self, role: &str) -> Result<String, CliError> {
        let key = LocalKey::generate(KeyKind::Bls).context("make a key")?;
        key.save_new(&self.key_file(role)).context("store a key")?;
        Ok(chain::address::print(&key.address()))
    }

    /// Writes the configuration a person would write.
    async fn configure(&self) -> Result<(), CliError> {
        let home = self.home();
        let (nats, chain) = (self.nats_url(), &self.chain_url);
        let key = |role| self.key_file(role).display().to_string();
        let coordinator = format!(
            "[nats]\nurl = {nats:?}\n\n[chain]\napi = {chain:?}\n\n[sender]\nkey_file = {:?}\n\n[http]\nlisten = \"127.0.0.1:0\"\n",
            key("coordinator")
        );
        let poster =
            format!("[nats]\nurl = {nats:?}\n\n[chain]\napi = {chain:?}\n\n[sender]\nkey_file = {:?}\n", key("poster"));
        let agent = format!("place = \"dev\"\nallow_cpu = true\nheartbeat = \"1s\"\n\n[nats]\nurl = {nats:?}\n");
        for (name, text) in [("coordinator.toml", coordinator), ("poster.toml", poster), ("agent.toml", agent)] {
            host::durable::write(&home.join(name), text.as_bytes()).with_context(|| format!("write {name}"))?;
        }
        Ok(())
    }

    /// Waits until the coordinator answers.
    async fn until_answered(&mut self) -> Result<(), CliError> {
        let nats = super::connect(self.nats_url()).await?;
        let began = Instant::now();
        loop {
            match nats.ask(&streams::control::InfoRequest {}, Duration::from_secs(1)).await {
                Ok(_) => return Ok(()),
                Err(e) if began.elapsed() > READY => {
                    return Err(self.not_ready("the coordinator's answer").because(e));
                }
                Err(_) => self.unless_broken(pause()).await?,
            }
        }
    }

    /// Runs a program to its end; its talk goes to this terminal.
    async fn finish(&self, program: &str, args: &[&str]) -> Result<(), CliError> {
        let status = self.command(program).args(args).status().await.with_context(|| format!("run {program}"))?;
        if status.success() {
            return Ok(());
        }
        Err(CliError::new(Exit::Failure, format!("{program} {} ended with {status}", args.join(" "))))
    }

    /// A command with the cluster's environment; killed if the run ends before it.
    pub(super) fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.bin.join(program));
        command.envs(self.environment()).kill_on_drop(true).process_group(0);
        command
    }

    fn spawn(&mut self, name: &'static str, program: &str, args: &[&str]) -> Result<(), CliError> {
        let spec = JobSpec {
            program: self.bin.join(program),
            args: args.iter().map(OsString::from).collect(),
            dir: self.dir.clone(),
            env: self.environment(),
            watch: Watch {
                stderr: self.logs().join(format!("{name}.log")),
                deadline: None,
                silence: None,
                memory_max: None,
                kin: Kin::default(),
                grace: GRACE,
            },
        };
        let job = Job::start(spec).with_context(|| format!("start {name}"))?;
        let token = CancellationToken::new();
        self.running.push(Running { name, token: token.clone() });
        self.ended.spawn(async move { (name, job.wait(&token).await) });
        Ok(())
    }

    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("SEALSTREAM_HOME".into(), self.home().into()),
            ("FIL_PROOFS_PARAMETER_CACHE".into(), self.params.clone().into()),
        ]
    }

    /// Waits for `work`, unless a program ends that everything else needs. An agent may come and go: that is told
    /// and survived, as it would be in a real cluster.
    pub(super) async fn unless_broken<T>(
        &mut self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        tokio::pin!(work);
        loop {
            let (name, end) = tokio::select! {
                done = &mut work => return done,
                Some(Ok(ended)) = self.ended.join_next() => ended,
            };
            self.running.retain(|r| r.name != name);
            let log = self.logs().join(format!("{name}.log"));
            let error = CliError::new(Exit::Failure, format!("{name} ended by itself: {end:?}"))
                .hint(format!("its last words are in {}", log.display()));
            if !AGENTS.contains(&name) {
                return Err(error);
            }
            self.step(&format!("{error}; the cluster goes on without it"));
        }
    }

    async fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, CliError> {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if began.elapsed() > READY {
                return Err(self.not_ready(what));
            }
            self.unless_broken(pause()).await?;
        }
    }

    fn not_ready(&self, what: &str) -> CliError {
        CliError::new(Exit::Failure, format!("{what} did not come within {}", humantime::format_duration(READY)))
            .hint(format!("the logs are in {}", self.logs().display()))
    }

    /// Stops every program, last started first, then the queue.
    pub(super) async fn stop(&mut self) {
        while let Some(last) = self.running.pop() {
            last.token.cancel();
            while let Some(Ok((name, _))) = self.ended.join_next().await {
                if name == last.name {
                    break;
                }
                self.running.retain(|r| r.name != name);
            }
        }
        if let Some(mut nats) = self.nats.take()
            && let Err(error) = nats.stop().await
        {
            tracing::warn!("stop nats-server: {error}");
        }
    }

    /// Says what is being done, with the time since the start.
    pub(super) fn step(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    pub(super) fn nats_url(&self) -> &str {
        self.nats.as_ref().map_or("", ServerProcess::url)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The address that pays for window PoSts: the miner's owner, so that no sealing message stands in their way.
    pub(super) fn poster_address(&self) -> &str {
        &self.poster_address
    }

    pub(super) fn bin(&self) -> &Path {
        &self.bin
    }

    fn key_file(&self, role: &str) -> PathBuf {
        self.home().join("keys").join(format!("{role}.json"))
    }
}

/// A short pause between two looks at something that is starting.
async fn pause() -> Result<(), CliError> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}
