//! The trial's cluster: everything real, each process behind proxies of its own.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::join_all;
use streams::{
    id::{MinerId, SectorId},
    nats::{Nats, NatsConfig},
};
use tokio::{
    sync::{Mutex, RwLock},
    task::JoinSet,
};

use super::{
    diary::Diary,
    evidence,
    layout::{self, Endpoints, Layout},
    link::Link,
    member::{Member, Role},
    node::{Gateway, Node},
    program::{FAILPOINT, Program, Spec},
    servers::Servers,
    view::View,
};

const READY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Height below which there is no fork.
const YOUNG: i64 = 20;
const SUPERVISE_EVERY: Duration = Duration::from_millis(200);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) layout: Layout,
    pub(super) diary: Arc<Diary>,
    pub(super) members: Vec<Arc<Member>>,
    pub(super) servers: Mutex<Servers>,
    pub(super) devnet: Mutex<Program>,
    recorder: Mutex<Program>,
    pub(super) node: Node,
    /// Held for writing while no epoch may pass.
    pub(super) clock: RwLock<()>,
    /// Up to this height the chain was abandoned once, or is not to be: the miner was made there.
    pub(super) forked_below: Mutex<i64>,
    pub(super) nats: Nats,
    pub(super) view: View,
    pub(super) miner: MinerId,
    /// Proxies and the mirror: until the end.
    background: Mutex<JoinSet<()>>,
    /// The clock and the supervisor: until the cluster is to stop.
    drivers: Mutex<JoinSet<()>>,
}

/// Builds a cluster step by step.
struct Builder {
    layout: Layout,
    background: JoinSet<()>,
    servers: Vec<SocketAddr>,
    chain: String,
    members: Vec<Arc<Member>>,
    diary: Arc<Diary>,
    /// Coordinators with what they are told, and how a person reaches them.
    coordinators: Vec<(String, Endpoints)>,
}

impl Cluster {
    /// Starts everything and makes a miner.
    pub(super) async fn start(layout: Layout) -> anyhow::Result<Arc<Self>> {
        layout.create()?;
        let diary = Arc::new(Diary::begin(&layout.evidence(), &format!("faults {}", layout.mark), &layout.pace)?);
        let servers = match layout.servers {
            1 => Servers::one(&layout.nats_dir(), &diary).await?,
            _ => Servers::three(&layout.nats_dir(), &diary).await?,
        };
        let (devnet, chain) = start_devnet(&layout, &diary).await?;
        let mut builder = Builder {
            layout: layout.clone(),
            background: JoinSet::new(),
            servers: servers.addresses()?,
            chain,
            members: Vec::new(),
            diary: Arc::clone(&diary),
            coordinators: Vec::new(),
        };
        builder.coordinators_and_posters().await?;
        builder.agents().await?;
        let Builder { background, members, chain, coordinators, .. } = builder;

        let nats = connect(&servers.url()).await?;
        let mut recorder = evidence::recorder(&layout, &servers.url(), &diary);
        recorder.start()?;
        let mut cluster = Self {
            node: Node::new(&chain)?,
            layout,
            diary,
            members,
            servers: Mutex::new(servers),
            devnet: Mutex::new(devnet),
            recorder: Mutex::new(recorder),
            clock: RwLock::default(),
            forked_below: Mutex::new(YOUNG),
            nats,
            view: View::default(),
            miner: MinerId(0),
            background: Mutex::new(background),
            drivers: Mutex::default(),
        };
        cluster.open().await?;
        cluster.name_miner(&coordinators).await?;
        let cluster = Arc::new(cluster);
        cluster.background.lock().await.spawn(cluster.view.clone().follow(cluster.nats.clone()));
        let mut drivers = cluster.drivers.lock().await;
        drivers.spawn(pass_time(Arc::clone(&cluster)));
        drivers.spawn(supervise(Arc::clone(&cluster)));
        drivers.spawn(evidence::watch_provers(cluster.layout.clone(), Arc::clone(&cluster.diary)));
        drop(drivers);
        for member in cluster.of(Role::Agent).chain(cluster.of(Role::Poster)) {
            member.program().await.start()?;
        }
        Ok(cluster)
    }

    /// Coordinators first; a miner; then everybody else has something to open.
    async fn open(&mut self) -> anyhow::Result<()> {
        for member in self.of(Role::Coordinator) {
            member.program().await.start()?;
        }
        let owner = {
            let key = chain::key::LocalKey::load(&self.layout.key_file("poster")).context("read the poster's key")?;
            chain::address::print(&key.address())
        };
        let created = tokio::time::timeout(READY, async {
            // A clock of its own until the cluster's runs.
            let advance = async {
                loop {
                    drop(self.node.advance().await);
                    tokio::time::sleep(self.layout.pace.epoch).await;
                }
            };
            let create = async {
                loop {
                    let args = ["miner", "create", "--sector-size", "2KiB", "--owner", &owner, "-o", "json"];
                    match self.coordinator(&args).await {
                        Ok(text) => return text,
                        Err(error) => tracing::debug!("make a miner: {error:#}"),
                    }
                    tokio::time::sleep(LOOK_EVERY * 10).await;
                }
            };
            tokio::select! { text = create => text, () = advance => String::new() }
        });
        let text = created.await.context("no miner could be made in time")?;
        let value: serde_json::Value = serde_json::from_str(&text).context("read the new miner")?;
        let miner = value.get("miner").and_then(|m| m.as_str()).context("the answer names no miner")?;
        self.miner = miner.parse().context("read the new miner")?;
        Ok(())
    }

    /// Every coordinator is told of the miner: only the one that made it remembers it by itself.
    async fn name_miner(&self, coordinators: &[(String, Endpoints)]) -> anyhow::Result<()> {
        for (name, to) in coordinators {
            self.layout.configure_coordinator(name, to, Some(self.miner))?;
        }
        for member in self.of(Role::Coordinator) {
            member.program().await.stop().await?;
            member.program().await.start()?;
        }
        Ok(())
    }

    /// Runs a command of `coordinator`, as a person would.
    pub(super) async fn coordinator(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(self.layout.bin.join("coordinator"));
        command.args(args).envs(self.layout.env("person")).kill_on_drop(true).process_group(0);
        let output = command.output().await.with_context(|| format!("run coordinator {}", args.join(" ")))?;
        if !output.status.success() {
            let talk = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            anyhow::bail!("coordinator {}: {talk}", args.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command of `coordinator` that is to die at a failpoint; whether it did.
    pub(super) async fn coordinator_dies(&self, args: &[&str], failpoint: &str) -> anyhow::Result<bool> {
        let mut command = tokio::process::Command::new(self.layout.bin.join("coordinator"));
        command
            .args(args)
            .envs(self.layout.env("person"))
            .env(FAILPOINT, failpoint)
            .kill_on_drop(true)
            .process_group(0);
        let output = command.output().await.with_context(|| format!("run coordinator {}", args.join(" ")))?;
        Ok(output.status.code().is_none())
    }

    /// Sectors for a command's answer.
    pub(super) async fn submit(&self, what: &[&str]) -> anyhow::Result<Vec<SectorId>> {
        let miner = self.miner.to_string();
        let args = [&["submit", "--miner", &miner], what, &["-o", "json"]].concat();
        let text = self.coordinator(&args).await?;
        let value: serde_json::Value = serde_json::from_str(&text).context("read what was submitted")?;
        let sectors = value.get("sectors").cloned().context("the answer names no sectors")?;
        serde_json::from_value(sectors).context("read the sectors")
    }

    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(move |member| member.role == role)
    }

    /// Whether another agent of this one's place runs.
    pub(super) fn has_partner(&self, agent: &Member) -> bool {
        let place = |name: &str| name.rsplit_once('-').map(|(place, _)| place.to_owned());
        let others = self.of(Role::Agent).filter(|other| other.name != agent.name);
        others.filter(|other| place(&other.name) == place(&agent.name)).any(|other| other.is_up())
    }

    /// Stops everything, last started first. Returns what did not stop as it should.
    pub(super) async fn stop(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        // First the supervisor: nothing starts again.
        self.drivers.lock().await.shutdown().await;
        let stopping = self.members.iter().map(|member| async { member.program().await.stop().await });
        for stopped in join_all(stopping).await {
            wrong.extend(stopped.err().map(|error| format!("{error:#}")));
        }
        // What is stored by now is written down before the queue goes.
        if let Err(error) = self.recorder.lock().await.stop().await {
            wrong.push(format!("{error:#}"));
        }
        if let Err(error) = self.devnet.lock().await.stop().await {
            wrong.push(format!("{error:#}"));
        }
        if let Err(error) = self.servers.lock().await.stop().await {
            wrong.push(format!("{error:#}"));
        }
        self.background.lock().await.shutdown().await;
        wrong
    }
}

impl Builder {
    async fn link(&mut self) -> anyhow::Result<Link> {
        let (link, listener) = Link::open().await?;
        self.background.spawn(link.clone().serve(listener, self.servers.clone()));
        Ok(link)
    }

    async fn gateway(&mut self) -> anyhow::Result<Gateway> {
        let (gateway, listener) = Gateway::open(&self.chain).await?;
        self.background.spawn(gateway.clone().serve(listener));
        Ok(gateway)
    }

    fn add(&mut self, name: &str, role: Role, program: Program, link: Link, gateway: Option<Gateway>) {
        self.members.push(Arc::new(Member::new(name, role, program, link, gateway)));
    }

    fn program(&self, name: &str, program: &str, home: &str, args: &[&str], more: &[(&str, String)]) -> Program {
        let mut env = self.layout.env(home);
        env.extend(more.iter().map(|(key, value)| (OsString::from(key), OsString::from(value))));
        Program::new(Spec {
            name: name.to_owned(),
            program: self.layout.bin.join(program),
            args: args.iter().map(OsString::from).collect(),
            env,
            log: self.layout.log(name),
            diary: Arc::clone(&self.diary),
        })
    }

    async fn coordinators_and_posters(&mut self) -> anyhow::Result<()> {
        let direct = self.servers.iter().map(|at| format!("nats://{at}")).collect::<Vec<_>>().join(",");
        let person = Endpoints { nats: direct, chain: self.chain.clone(), port: layout::free_port()? };
        self.layout.configure_coordinator("person", &person, None)?;
        self.coordinators.push(("person".to_owned(), person));
        for name in ["coordinator-1", "coordinator-2"] {
            let (link, gateway) = (self.link().await?, self.gateway().await?);
            let to = Endpoints { nats: link.url(), chain: gateway.url(), port: layout::free_port()? };
            self.layout.configure_coordinator(name, &to, None)?;
            self.coordinators.push((name.to_owned(), to));
            let program = self.program(name, "coordinator", name, &["run", "--log-format", "text"], &[]);
            self.add(name, Role::Coordinator, program, link, Some(gateway));
        }
        for name in ["poster-1", "poster-2"] {
            let (link, gateway) = (self.link().await?, self.gateway().await?);
            self.layout.configure_poster(name, &link.url(), &gateway.url())?;
            let program = self.program(name, "poster", name, &["run", "--log-format", "text"], &[]);
            self.add(name, Role::Poster, program, link, Some(gateway));
        }
        Ok(())
    }

    async fn agents(&mut self) -> anyhow::Result<()> {
        let agents = self.layout.agents;
        let places = self.layout.places();
        for place in &places {
            self.layout.configure_place(place)?;
            super::script::Script::even(self.layout.pace.stage).write(&self.layout.script(place))?;
        }
        let holds_files = |place: &&str| agents.iter().any(|a| a.place == *place && a.classes.contains(&"post-io"));
        for place in places.into_iter().filter(holds_files) {
            let (fast, safe) = (self.layout.store(place, "local"), self.layout.store(place, "persistent"));
            self.make_store(place, &[fast]).await?;
            self.make_store(place, &["--persistent".into(), safe]).await?;
        }
        for plan in agents {
            let link = self.link().await?;
            let mut args = vec!["run", "--log-format", "text", "--name", plan.name];
            args.extend(plan.classes.iter().flat_map(|class| ["--class", class]));
            let more = [("SEALSTREAM_AGENT_NATS__URL", link.url())];
            let program = self.program(plan.name, "sealer-agent", plan.place, &args, &more);
            self.add(plan.name, Role::Agent, program, link, None);
        }
        Ok(())
    }

    async fn make_store(&self, place: &str, args: &[PathBuf]) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(self.layout.bin.join("sealer-agent"));
        command.args(["store", "init"]).args(args).envs(self.layout.env(place));
        let output = command.output().await.context("run sealer-agent store init")?;
        anyhow::ensure!(output.status.success(), "make a store: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

async fn start_devnet(layout: &Layout, diary: &Arc<Diary>) -> anyhow::Result<(Program, String)> {
    let addresses =
        ["coordinator", "poster"].iter().map(|role| layout.make_key(role)).collect::<Result<Vec<_>, _>>()?;
    let port = layout::free_port()?;
    let mut devnet = Program::new(Spec {
        name: "devnet".to_owned(),
        program: layout.bin.join("devnet"),
        args: layout.devnet_args(&addresses, port),
        env: layout.env("devnet"),
        log: layout.log("devnet"),
        diary: Arc::clone(diary),
    });
    devnet.start()?;
    let began = Instant::now();
    while !layout.dir.join("devnet.json").exists() {
        anyhow::ensure!(began.elapsed() < READY, "the devnet was not ready in time: {}", devnet.log().display());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok((devnet, format!("http://127.0.0.1:{port}")))
}

pub(super) async fn connect(url: &str) -> anyhow::Result<Nats> {
    let config = NatsConfig { url: url.to_owned(), name: "trial".to_owned(), connect_timeout: Duration::from_secs(10) };
    Nats::connect(&config).await.context("connect to nats-server")
}

/// Lets an epoch pass every so often, unless the clock is held.
async fn pass_time(cluster: Arc<Cluster>) {
    let mut ticks = tokio::time::interval(cluster.layout.pace.epoch);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let _running = cluster.clock.read().await;
        if let Err(error) = cluster.node.advance().await {
            tracing::debug!("let an epoch pass: {error:#}");
        }
    }
}

/// Starts what ended by itself, as an operator's supervisor would.
async fn supervise(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(SUPERVISE_EVERY).await;
        for member in &cluster.members {
            if let Err(error) = member.supervise().await {
                tracing::warn!(member = member.name, "start again: {error:#}");
            }
        }
    }
}
