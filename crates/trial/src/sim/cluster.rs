//! Two coordinators, two posters, four agents at two places, and what they stand on.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use chain::{
    ChainApi,
    key::{KeyKind, LocalKey},
    policy::NetworkPolicy,
};
use host::clock::Clock;
use streams::{
    id::{AgentId, MinerId, Place, SectorId},
    model::{Model, Random},
    nats::Nats,
    proof::Commitment,
    stage::Class,
};
use uuid::Uuid;

use super::{
    EPOCH_MS,
    chain::{Node, NodeRates, SEAL, World},
    checker::Checker,
    clock::SimClock,
    disk::{Disk, WorkRates, Worker},
    process::{Process, Start},
    proofs::Digests,
    without::Without,
};

/// Whom all this is for.
pub(crate) const MINERS: [MinerId; 2] = [MinerId(1000), MinerId(1001)];
const RECONCILE: Duration = Duration::from_secs(60);
/// Never, within a run.
const NEVER: Duration = Duration::from_secs(100 * 24 * 3600);

/// Everything.
pub(crate) struct Cluster {
    pub(crate) model: Model,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) node_rates: Arc<Mutex<NodeRates>>,
    pub(crate) work_rates: Arc<Mutex<WorkRates>>,
    pub(crate) checker: Arc<Mutex<Checker>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) processes: Vec<Process>,
    pub(crate) person: Nats,
    pub(crate) policy: NetworkPolicy,
    pub(crate) disks: Vec<Arc<Mutex<Disk>>>,
    zero_comm_d: Commitment,
    random: Random,
    without: Option<Without>,
}

/// The fast devnet's rules with slower blocks, and with depths at which something can go wrong.
fn policy() -> NetworkPolicy {
    NetworkPolicy {
        block_delay_ms: 6_000,
        message_confidence: 3,
        seed_confidence: 3,
        finality: 8,
        ticket_lookback: 8,
        ..NetworkPolicy::devnet_fast()
    }
}

impl Cluster {
    pub(crate) fn new(random: &mut Random, without: Option<Without>, loud: bool, home: &Path) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new(EPOCH_MS));
        sealer_agent::simulated::set_clock(Arc::clone(&clock));
        let policy = policy();
        let zero_comm_d = prover::comm_d(SEAL, &[]).context("compute the CommD of no data")?;
        let keys = [1, 2].map(|byte| LocalKey::from_bytes(KeyKind::Secp256k1, &[byte; 32]));
        let [sealer, poster] = keys;
        let (sealer, poster) = (sealer?, poster?);
        let key_file = home.join("sealer.json");
        sealer.save_new(&key_file)?;
        let owners = [sealer.address(), poster.address()];
        let world = World::new(policy.clone(), Arc::new(Digests), zero_comm_d, &MINERS, &owners, random);
        let model = Model::new(random.next(), EPOCH_MS);
        let disks = vec![Arc::default(), Arc::default()];
        let checker = Arc::new(Mutex::new(Checker::new(loud)));
        watch(&model, &checker, &disks);
        let mut cluster = Self {
            person: model.connect("person"),
            model,
            world: Arc::new(Mutex::new(world)),
            node_rates: Arc::default(),
            work_rates: Arc::default(),
            checker,
            clock,
            processes: Vec::new(),
            policy,
            disks,
            zero_comm_d,
            random: random.fork(),
            without,
        };
        for number in 1..=2 {
            let start = cluster.coordinator(number, &key_file, home);
            cluster.processes.push(Process::new(format!("coordinator-{number}"), start));
        }
        for number in 1..=2 {
            let start = cluster.poster(number);
            cluster.processes.push(Process::new(format!("poster-{number}"), start));
        }
        for number in 1..=4 {
            let start = cluster.agent(number, home)?;
            cluster.processes.push(Process::new(format!("agent-{number}"), start));
        }
        Ok(cluster)
    }

    fn node(&mut self) -> Arc<dyn ChainApi> {
        Arc::new(Node::new(Arc::clone(&self.world), Arc::clone(&self.node_rates), self.random.fork()))
    }

    fn coordinator(&mut self, number: u64, key_file: &Path, home: &Path) -> Start {
        let (model, clock, node, policy) =
            (self.model.clone(), Arc::clone(&self.clock), self.node(), self.policy.clone());
        let name = format!("coordinator-{number}");
        let (key_file, data): (PathBuf, PathBuf) = (key_file.to_owned(), home.join(&name));
        let reconcile_interval = if self.without == Some(Without::Reconciler) { NEVER } else { RECONCILE };
        Arc::new(move |run, tasks| {
            let simulated = coordinator::simulated::Simulated {
                nats: model.connect(&name),
                chain: Arc::clone(&node),
                verifier: Arc::new(Digests),
                clock: Arc::clone(&clock),
                holder: format!("{name}-{run}"),
                miners: MINERS.to_vec(),
                key_file: key_file.clone(),
                data: data.clone(),
                policy: policy.clone(),
                reconcile_interval,
                batch: (3, Duration::from_secs(8)),
            };
            Box::pin(async move { coordinator::simulated::start(simulated, &tasks).await })
        })
    }

    fn poster(&mut self, number: u64) -> Start {
        let (model, clock, node, policy) =
            (self.model.clone(), Arc::clone(&self.clock), self.node(), self.policy.clone());
        let name = format!("poster-{number}");
        Arc::new(move |run, tasks| {
            let (nats, chain, clock) = (model.connect(&name), Arc::clone(&node), Arc::clone(&clock));
            let (holder, policy) = (format!("{name}-{run}"), policy.clone());
            Box::pin(async move {
                let simulated = poster::simulated::Simulated {
                    nats,
                    chain,
                    key: LocalKey::from_bytes(KeyKind::Secp256k1, &[2; 32])?,
                    verifier: Arc::new(Digests),
                    clock,
                    holder,
                    miners: MINERS.to_vec(),
                    policy,
                };
                poster::simulated::start(simulated, &tasks).await
            })
        })
    }

    fn agent(&mut self, number: u64, home: &Path) -> anyhow::Result<Start> {
        let name = format!("agent-{number}");
        let home = home.join(&name);
        let agent: AgentId = name.parse()?;
        let at = usize::from(number > 2);
        let place: Place = if at == 0 { "east" } else { "west" }.parse()?;
        let disk = Arc::clone(self.disks.get(at).context("every place has disks")?);
        let hands = Arc::new(Worker {
            disk,
            model: self.model.clone(),
            agent: agent.clone(),
            place_number: u128::try_from(at)? + 1,
            zero_comm_d: self.zero_comm_d,
            rates: Arc::clone(&self.work_rates),
            random: Mutex::new(self.random.fork()),
            lockless: self.without == Some(Without::Lock),
        });
        let classes = vec![
            (Class::Pc1Cpu, 2),
            (Class::Pc2Gpu, 1),
            (Class::C2Gpu, 1),
            (Class::Io, 1),
            (Class::PostIo, 1),
            (Class::PostGpu, 1),
        ];
        let model = self.model.clone();
        Ok(Arc::new(move |run, tasks| {
            let simulated = sealer_agent::simulated::Simulated {
                nats: model.connect(&name),
                agent: agent.clone(),
                place: place.clone(),
                run: Uuid::from_u128(u128::from(run) << 64 | u128::from(number)),
                classes: classes.clone(),
                home: home.clone(),
                hands: Arc::<Worker>::clone(&hands),
            };
            Box::pin(async move { sealer_agent::simulated::start(simulated, &tasks).await })
        }))
    }
}

/// Shows the checker everything that happens at the queue.
fn watch(model: &Model, checker: &Arc<Mutex<Checker>>, disks: &[Arc<Mutex<Disk>>]) {
    let (checker, disks) = (Arc::clone(checker), disks.to_vec());
    model.observe(Box::new(move |at_ms, happened| {
        let has_replica =
            |sector: SectorId| disks.iter().any(|disk| disk.lock().is_ok_and(|disk| disk.has_replica(sector)));
        if let Ok(mut checker) = checker.lock() {
            checker.happened(at_ms, happened, has_replica);
        }
    }));
}
