//! Agents that die while their provers work: the work goes on, and counts once.

use std::{fs, time::Duration};

use rustix::process::Signal;
use streams::{
    artifact::Artifacts,
    message::{Facts, Outcome},
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, submitted, wait_for},
    ends::{PC1, at_work, hanging, waiting_for_tree_d},
    host_files::{Agent, Host, processes_with},
    life::{C2_DONE, waits_for_c2},
};

const ACK_WAIT: Duration = Duration::from_secs(3);

/// A host whose agent `a` runs PC1 of a sector, in a prover that hangs until it is released.
pub(crate) struct Sealing {
    pub(crate) host: Host,
    pub(crate) cluster: Cluster,
    pub(crate) sector: SectorRecord,
    pub(crate) agent: Agent,
    /// The prover.
    pub(crate) pid: u32,
}

impl Sealing {
    pub(crate) async fn start(ack_wait: Duration) -> Self {
        Self::start_with(ack_wait, "").await
    }

    /// The same with more in `agent.toml`.
    pub(crate) async fn start_with(ack_wait: Duration, more: &str) -> Self {
        let host = Host::with_stores();
        let cluster = Cluster::start(ack_wait).await;
        let mut sector = waiting_for_tree_d(&cluster, &host, 1).await;
        let at = sector.state.placement().unwrap().clone();
        host.configure(&format!("{more}\nprover = \"{}\"", host.hanging("pc1").display()));
        let agent = host.agent(cluster.server.url(), "a", PC1);
        let state = sector.state.clone();
        let done = cluster.does(&mut sector, Stage::TreeD, state).await;
        let Facts::TreeD { comm_d } = done else { panic!("{done:?}") };
        sector.state = SectorState::TreeDDone { at, comm_d };
        cluster.set(&sector).await;
        cluster.order(sector.id, Stage::Pc1, None).await;
        at_work(&host, "a").await;
        let pid = wait_for(async || host.started().first().copied().ok_or_else(|| "no prover yet".to_owned())).await;
        let noted = host.path("home/agents/a/jobs");
        wait_for(async || match in_jobs(&noted, "child.json") {
            Some(text) if text.contains(&format!("\"pid\":{pid},")) => Ok(()),
            other => Err(format!("the prover is not noted: {other:?}")),
        })
        .await;
        let sector = cluster.sectors.get(&sector.id.key()).await.unwrap().unwrap().value;
        Self { host, cluster, sector, agent, pid }
    }

    /// Starts the server again, and waits until this test reaches it: an agent would be faster, and wait for a
    /// coordinator that does not look yet.
    pub(crate) async fn server_returns(&mut self) {
        self.cluster.server.restart().await;
        let key = self.sector.id.key();
        wait_for(async || self.cluster.sectors.get(&key).await.map(drop).map_err(|error| error.to_string())).await;
    }

    /// Tells `a` to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        self.agent.stop()
    }

    /// Starts `a` again.
    pub(crate) fn restart(&mut self) {
        self.agent = self.host.agent(self.cluster.server.url(), "a", PC1);
    }

    /// The result of PC1, which must be a success, made by the first prover under the first ticket.
    pub(crate) async fn result(&self) -> streams::message::TaskResult {
        let result = self.cluster.result().await;
        assert!(matches!(result.outcome, Outcome::Done { facts: Facts::Pc1 {} }), "{result:?}");
        assert_eq!(self.host.started(), [self.pid], "another prover was started");
        let SectorState::Ticketed { ticket, .. } = &self.sector.state else { panic!("{:?}", self.sector.state) };
        let manifest = fs::read_to_string(self.host.path("local/sectors/s-t01000-1/manifest.json")).unwrap();
        assert!(manifest.contains(&serde_json::to_string(ticket).unwrap()), "{manifest}");
        result
    }

    /// Plays the coordinator, and waits until the queue has no task left.
    pub(crate) async fn move_on(&self) {
        let SectorState::Ticketed { at, comm_d, ticket } = self.sector.state.clone() else { panic!("no ticket") };
        let record = self.cluster.sectors.get(&self.sector.id.key()).await.unwrap().unwrap().value;
        let state = SectorState::Pc1Done { at, comm_d, ticket };
        self.cluster.set(&SectorRecord { state, seq: record.seq + 1, ..record }).await;
        wait_for(async || match self.cluster.backlog("pc1-cpu_here").await {
            (0, 0) => Ok(()),
            other => Err(format!("backlog {other:?}")),
        })
        .await;
        assert_eq!(self.host.started(), [self.pid], "the task that came back started another prover");
    }
}

/// The text of a file in the only job directory.
fn in_jobs(jobs: &std::path::Path, name: &str) -> Option<String> {
    let job = fs::read_dir(jobs).ok()?.flatten().next()?;
    fs::read_to_string(job.path().join(name)).ok()
}

async fn said(agent: &Agent, words: &str) {
    wait_for(async || if agent.log().contains(words) { Ok(()) } else { Err(format!("it did not say \"{words}\"")) })
        .await;
}

#[tokio::test]
async fn a_restarted_agent_adopts_its_running_prover() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.agent.kill9();
    sealing.restart();
    said(&sealing.agent, "it is adopted").await;
    let claim = format!("{}.pc1", sealing.sector.id.key());
    let held = sealing.cluster.claims.get(&claim).await.unwrap().unwrap().value;
    assert_eq!((held.agent.as_str(), held.attempt), ("a", 1), "it is still the first attempt");
    sealing.host.release();
    let result = sealing.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("a", 1));
    sealing.move_on().await;
    assert_eq!(fs::read_dir(sealing.host.path("home/agents/a/jobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_agent_that_is_stopped_leaves_its_prover_to_its_next_run() {
    let mut sealing = Sealing::start_with(ACK_WAIT, "leave_provers = true").await;
    assert!(sealing.stop().success());
    sealing.restart();
    said(&sealing.agent, "it is adopted").await;
    sealing.host.release();
    let result = sealing.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("a", 1));
    sealing.move_on().await;
    assert_eq!(fs::read_dir(sealing.host.path("home/agents/a/jobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_result_that_came_while_the_agent_was_dead_is_offered() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.agent.kill9();
    sealing.host.release();
    let jobs = sealing.host.path("home/agents/a/jobs");
    wait_for(async || in_jobs(&jobs, "result.json").map(drop).ok_or_else(|| "no result.json".to_owned())).await;
    sealing.restart();
    assert_eq!(sealing.result().await.claim.attempt, 1);
    sealing.move_on().await;
}

#[tokio::test]
async fn a_result_in_the_journal_outlives_agent_and_server() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    sealing.cluster.server.kill9().await;
    sealing.host.release();
    let results = sealing.host.path("home/agents/a/results");
    wait_for(async || match fs::read_dir(&results).unwrap().flatten().count() {
        1 => Ok(()),
        other => Err(format!("{other} results in the journal")),
    })
    .await;
    sealing.agent.kill9();
    sealing.server_returns().await;
    sealing.restart();
    assert_eq!(sealing.result().await.claim.attempt, 1);
    sealing.move_on().await;
    assert_eq!(fs::read_dir(&results).unwrap().count(), 0);
}

#[tokio::test]
async fn an_agent_that_stood_still_does_no_harm_and_its_work_counts() {
    let sealing = Sealing::start(Duration::from_secs(2)).await;
    let other = sealing.host.agent(sealing.cluster.server.url(), "b", PC1);
    sealing.agent.signal(Signal::STOP);
    // The task came to the other one, which found the sector's folder in use.
    said(&other, "is locked by another process").await;
    sealing.agent.signal(Signal::CONT);
    said(&sealing.agent, "the claim is ours again").await;
    sealing.host.release();
    let result = sealing.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("a", 1));
    sealing.move_on().await;
    assert!(other.terminate().success());
}

#[tokio::test]
async fn another_agent_of_the_host_goes_on_for_one_that_stays_dead() {
    let mut sealing = Sealing::start(Duration::from_secs(2)).await;
    sealing.agent.kill9();
    let other = sealing.host.agent(sealing.cluster.server.url(), "b", PC1);
    said(&other, "it is adopted").await;
    // Should the first come back, it finds its job in other hands.
    sealing.restart();
    said(&sealing.agent, "ready").await;
    sealing.host.release();
    let result = sealing.result().await;
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("b", 1));
    sealing.move_on().await;
    assert!(other.terminate().success());
}

/// For a stage that only reads, a proof counts whoever made it: also while another agent tries.
#[tokio::test]
async fn a_free_stage_that_another_took_over_is_offered_all_the_same() {
    let (one, two) = (Host::bare(), Host::bare());
    let cluster = Cluster::start(Duration::from_secs(2)).await;
    let c1 = one.path("c1");
    host::durable::write(&c1, b"vanilla").unwrap();
    let c1 = Artifacts::open(&cluster.nats).await.unwrap().put("c1/test", &c1).await.unwrap();
    for host in [&one, &two] {
        host.configure(&format!("prover = \"{}\"", host.hanging_before("c2", C2_DONE).display()));
    }
    let c2 = &["--class", "c2-gpu"];
    let mut first = one.agent(cluster.server.url(), "a", c2);
    let sector = SectorRecord { state: waits_for_c2(c1), ..submitted(3, vec![]) };
    cluster.set(&sector).await;
    cluster.order(sector.id, Stage::C2, None).await;
    hanging(&one, 1).await;
    first.kill9();
    let second = two.agent(cluster.server.url(), "b", c2);
    hanging(&two, 1).await;
    let first = one.agent(cluster.server.url(), "a", c2);
    said(&first, "it is adopted").await;
    one.release();
    let result = cluster.result().await;
    assert!(matches!(result.outcome, Outcome::Done { .. }), "{result:?}");
    assert_eq!((result.agent.as_str(), result.claim.attempt), ("a", 1));
    let held = cluster.claims.get(&format!("{}.c2", sector.id.key())).await.unwrap().unwrap().value;
    assert_eq!((held.agent.as_str(), held.attempt), ("b", 2), "the other one goes on");
    assert_eq!((one.started().len(), two.started().len()), (1, 1));
    two.release();
    assert_eq!(cluster.result().await.agent.as_str(), "b");
    assert!(first.terminate().success() && second.terminate().success());
}

#[tokio::test]
async fn a_prover_that_nobody_can_go_on_with_is_ended() {
    let mut sealing = Sealing::start(Duration::from_secs(1)).await;
    sealing.agent.kill9();
    let other = sealing.host.agent(sealing.cluster.server.url(), "b", &["--class", "c2-gpu"]);
    let jobs = sealing.host.path("home/agents/a/jobs");
    wait_for(async || match processes_with(&jobs.display().to_string()) {
        0 => Ok(()),
        count => Err(format!("{count} provers of a dead agent")),
    })
    .await;
    wait_for(async || match fs::read_dir(&jobs).unwrap().count() {
        0 => Ok(()),
        count => Err(format!("{count} jobs of a dead agent")),
    })
    .await;
    assert!(other.terminate().success());
}
