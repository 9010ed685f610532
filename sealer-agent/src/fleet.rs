//! `sealer-agent cordon|drain|pause|resume`: written into the folder of each agent of this host, so that it works with
//! neither NATS nor coordinator, and while the agent is stopped.

use std::{collections::BTreeSet, fs, io, path::Path, time::Duration};

use chain::{due, policy::PolicyOverride};
use host::{
    durable,
    exit::{CliError, Exit},
    output::{Column, Format, Listing},
};
use serde::Serialize;
use streams::{
    duty::Duty,
    id::{AgentId, Place, Timestamp},
    nats::{Nats, NatsConfig},
};

use crate::{
    config::Config,
    duty::{Done, Said},
    job_dir::AgentDir,
    now::now,
};

/// How long a running agent may take until what it was told holds.
const HOLDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long NATS may take to say what is bound here.
const ASK_MAX: Duration = Duration::from_secs(5);

/// An agent of this host after a command.
#[derive(Debug, Serialize)]
struct Told {
    agent: AgentId,
    duty: Duty,
    running: bool,
    jobs: u64,
}

/// Whom a command of this host is for, and how it is answered.
pub(crate) struct Order<'a> {
    pub(crate) home: &'a Path,
    /// All agents of this host when empty.
    pub(crate) names: &'a [AgentId],
    pub(crate) format: Format,
}

impl Order<'_> {
    /// Tells the agents what to do about work.
    pub(crate) fn tell(&self, duty: Duty) -> Result<(), CliError> {
        let told = self.tell_all(duty)?.into_iter().map(|(told, _)| told).collect::<Vec<_>>();
        listing(&told)?.print(self.format)
    }

    /// Drains the agents, lists what is bound to their places, and waits until nothing is started any more.
    pub(crate) async fn drain(&self, within: Duration, wait: bool, config: &Config) -> Result<(), CliError> {
        let until = Timestamp(now().0.saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
        let told = self.tell_all(Duty::Draining { until })?;
        let places: BTreeSet<Place> = told.iter().filter_map(|(_, done)| Some(done.as_ref()?.place.clone())).collect();
        match tokio::time::timeout(ASK_MAX, bound(config, places.into_iter().collect())).await {
            Ok(Ok(bound)) => due::listing(&bound, now())?.print(self.format)?,
            Ok(Err(_)) | Err(_) => {
                eprintln!(
                    "NATS does not answer: what is bound here, and until when, is not known; it drains all the same"
                );
            }
        }
        for (Told { agent, running, jobs, .. }, _) in &told {
            if *running {
                eprintln!("{agent} takes no new sector; {jobs} jobs at hand");
            } else {
                eprintln!("{agent} is not running: it is draining from its next start");
            }
        }
        if wait { self.wait_drained(told).await } else { Ok(()) }
    }

    async fn wait_drained(&self, told: Vec<(Told, Option<Done>)>) -> Result<(), CliError> {
        for (Told { agent, .. }, _) in told.into_iter().filter(|(told, _)| told.running) {
            let dir = AgentDir::new(self.home, &agent);
            loop {
                let said = Said::read(&dir).map_err(|error| unreadable(&agent, error))?;
                let done = Done::read(&dir).map_err(|error| unreadable(&agent, error))?;
                match (said, done) {
                    (Some(said), Some(done)) if said.id == done.id => match done.duty {
                        Duty::Drained { .. } => {
                            eprintln!("{agent} is drained: nothing starts there; {} jobs go on", done.jobs);
                            break;
                        }
                        Duty::Serving => {
                            return Err(CliError::new(Exit::Refused, format!("agent {agent} was resumed meanwhile")));
                        }
                        Duty::Draining { .. } | Duty::Cordoned | Duty::Paused => {}
                    },
                    _ => {}
                }
                if !is_running(&dir).map_err(|error| unreadable(&agent, error))? {
                    eprintln!("{agent} is gone");
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    fn tell_all(&self, duty: Duty) -> Result<Vec<(Told, Option<Done>)>, CliError> {
        let mut told = Vec::new();
        for agent in self.agents()? {
            let dir = AgentDir::new(self.home, &agent);
            let failed = |error| unreadable(&agent, error);
            let said = Said::now(duty, "a command on this host");
            said.write(&dir).map_err(failed)?;
            let running = is_running(&dir).map_err(failed)?;
            let done = if running { Some(holds(&dir, &agent, &said)?) } else { None };
            let jobs = done.as_ref().map_or(0, |done| done.jobs);
            told.push((Told { agent, duty, running, jobs }, done));
        }
        Ok(told)
    }

    fn agents(&self) -> Result<Vec<AgentId>, CliError> {
        let folder = self.home.join("agents");
        let mut known: Vec<AgentId> = match fs::read_dir(&folder) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(CliError::new(Exit::Io, format!("read {}", folder.display())).because(error));
            }
        };
        known.sort();
        if let Some(stranger) = self.names.iter().find(|name| !known.contains(name)) {
            let names: Vec<String> = known.iter().map(ToString::to_string).collect();
            return Err(CliError::new(
                Exit::NotFound,
                format!("no agent {stranger} ever ran from {}", self.home.display()),
            )
            .hint(format!("known here: {}", names.join(", "))));
        }
        if known.is_empty() {
            return Err(CliError::new(Exit::NotFound, format!("no agent ever ran from {}", self.home.display()))
                .hint("name its home: --home DIR"));
        }
        known.retain(|name| self.names.is_empty() || self.names.contains(name));
        Ok(known)
    }
}

/// Waits until a running agent notes that what was said holds.
fn holds(dir: &AgentDir, agent: &AgentId, said: &Said) -> Result<Done, CliError> {
    let began = std::time::Instant::now();
    loop {
        match Done::read(dir) {
            Ok(Some(done)) if done.id == said.id => return Ok(done),
            Ok(_) => {}
            Err(error) => return Err(unreadable(agent, error)),
        }
        if began.elapsed() > HOLDS_WITHIN {
            return Err(CliError::new(Exit::Busy, format!("agent {agent} is told, and it does not hold yet")).hint(
                "it starts, or tasks are on their way to a prover (`sealer-agent jobs`): it holds once they work",
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_running(dir: &AgentDir) -> io::Result<bool> {
    match durable::lock_exclusive(&dir.lock()) {
        Ok(_free) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

async fn bound(config: &Config, places: Vec<Place>) -> Result<Vec<due::BoundSector>, streams::error::QueueError> {
    let url = config.nats.url.clone();
    let nats = NatsConfig { url, name: "sealer-agent-cli".to_owned(), connect_timeout: ASK_MAX };
    due::bound(&Nats::connect(&nats).await?, &places, &PolicyOverride::default()).await
}

fn unreadable(agent: &AgentId, error: io::Error) -> CliError {
    CliError::new(Exit::Io, format!("speak to agent {agent} through its folder")).because(error)
}

fn listing(all: &[Told]) -> Result<Listing, CliError> {
    let mut listing =
        Listing::new([Column::new("AGENT"), Column::new("DUTY"), Column::new("RUNS"), Column::new("JOBS").right()]);
    for told in all {
        let runs = if told.running { "yes" } else { "no: from its next start" };
        let cells = [told.agent.to_string(), told.duty.name().to_owned(), runs.to_owned(), told.jobs.to_string()];
        listing.row(cells, told)?;
    }
    Ok(listing)
}
