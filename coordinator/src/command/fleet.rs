//! `coordinator agents cordon|drain|pause|resume`: asked of each agent directly, so that it works while no coordinator
//! leads. The agent keeps what it is told.

use std::{collections::BTreeSet, time::Duration};

use chain::{due, policy::PolicyOverride};
use host::{
    exit::{CliError, Exit},
    output::{Column, Format, Listing},
};
use streams::{
    call::AskError,
    duty::{Duty, DutyRequest, DutyTaken},
    id::{AgentId, Place, Timestamp},
    nats::Nats,
    records::AgentRecord,
};

use super::listings::agent_records;
use crate::{app::unavailable, view};

/// How long an agent may take until what it was told holds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whom a command is for.
pub(super) struct Chosen {
    pub(super) names: Vec<AgentId>,
    pub(super) place: Option<Place>,
}

/// Tells agents what to do about work, and lists what they do now.
pub(super) async fn tell(nats: &Nats, chosen: &Chosen, duty: Duty, format: Format) -> Result<(), CliError> {
    let agents = choose(nats, chosen).await?;
    let (taken, failed) = tell_all(nats, &agents, duty).await;
    taken_listing(&taken)?.print(format)?;
    failed.map_or(Ok(()), Err)
}

/// Drains agents: lists what is bound to their places, each with its deadline, and waits until nothing is started there
/// any more.
pub(super) async fn drain(
    nats: &Nats,
    chosen: &Chosen,
    within: Duration,
    wait: bool,
    policy: &PolicyOverride,
    format: Format,
) -> Result<(), CliError> {
    let agents = choose(nats, chosen).await?;
    let until = Timestamp(view::now().0.saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
    let (taken, failed) = tell_all(nats, &agents, Duty::Draining { until }).await;
    let places: BTreeSet<Place> = agents.iter().map(|agent| agent.place.clone()).collect();
    let places: Vec<Place> = places.into_iter().collect();
    let bound = due::bound(nats, &places, policy).await.map_err(|e| unavailable("read what is bound there", e))?;
    due::listing(&bound, view::now())?.print(format)?;
    if let Some(error) = failed {
        return Err(error);
    }
    for DutyTaken { agent, jobs, .. } in &taken {
        eprintln!("{agent} takes no new sector; {jobs} jobs at hand; bound work goes on until {}", time(until));
    }
    if wait { wait_drained(nats, agents).await } else { Ok(()) }
}

async fn wait_drained(nats: &Nats, mut agents: Vec<AgentRecord>) -> Result<(), CliError> {
    while !agents.is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = agent_records(nats).await?;
        let mut left = Vec::new();
        for agent in agents {
            match now.iter().find(|record| record.agent == agent.agent) {
                None => eprintln!("{} is gone", agent.agent),
                Some(record) => match record.duty {
                    Duty::Drained { .. } => {
                        eprintln!(
                            "{} is drained: nothing starts there; {} jobs go on",
                            record.agent,
                            record.jobs.len()
                        );
                    }
                    Duty::Serving => {
                        let message = format!("agent {} was resumed meanwhile", record.agent);
                        return Err(CliError::new(Exit::Refused, message));
                    }
                    Duty::Draining { .. } | Duty::Cordoned | Duty::Paused => left.push(agent),
                },
            }
        }
        agents = left;
    }
    Ok(())
}

async fn tell_all(nats: &Nats, agents: &[AgentRecord], duty: Duty) -> (Vec<DutyTaken>, Option<CliError>) {
    let request = DutyRequest { duty, by: "coordinator agents".to_owned() };
    let (mut taken, mut failed) = (Vec::new(), None);
    for AgentRecord { agent, .. } in agents {
        match nats.ask_agent(agent, &request, ANSWERED_WITHIN).await {
            Ok(answer) => taken.push(answer),
            Err(error) => {
                let told = of_agent(agent, error);
                eprint!("{}", told.render());
                failed.get_or_insert_with(|| CliError::new(told.exit, "not every agent does as it was told"));
            }
        }
    }
    (taken, failed)
}

fn of_agent(agent: &AgentId, error: AskError) -> CliError {
    match error {
        AskError::Refused { message, hint } => {
            let cli = CliError::new(Exit::Refused, format!("agent {agent}: {message}"));
            hint.into_iter().fold(cli, CliError::hint)
        }
        AskError::NobodyAnswers { .. } => CliError::new(Exit::Unavailable, format!("agent {agent} does not answer"))
            .hint(format!("on its host: `sealer-agent cordon {agent}`, also while it is stopped")),
        other @ (AskError::TimedOut { .. } | AskError::Queue(_)) => {
            CliError::new(Exit::Unavailable, format!("ask agent {agent}")).because(other)
        }
    }
}

async fn choose(nats: &Nats, chosen: &Chosen) -> Result<Vec<AgentRecord>, CliError> {
    let all = agent_records(nats).await?;
    for name in &chosen.names {
        if !all.iter().any(|record| record.agent == *name) {
            return Err(CliError::new(Exit::NotFound, format!("agent {name} is not alive"))
                .hint(format!("on its host: `sealer-agent cordon {name}`, also while it is stopped")));
        }
    }
    let is_chosen =
        |record: &AgentRecord| chosen.names.contains(&record.agent) || chosen.place.as_ref() == Some(&record.place);
    let found: Vec<AgentRecord> = all.into_iter().filter(is_chosen).collect();
    match &chosen.place {
        Some(place) if found.is_empty() => {
            Err(CliError::new(Exit::NotFound, format!("no agent at place {place} is alive"))
                .hint("see `coordinator agents list`"))
        }
        _ => Ok(found),
    }
}

fn taken_listing(taken: &[DutyTaken]) -> Result<Listing, CliError> {
    let mut listing =
        Listing::new([Column::new("AGENT"), Column::new("DUTY"), Column::new("BEFORE"), Column::new("JOBS").right()]);
    for one in taken {
        let DutyTaken { agent, before, now, jobs } = one;
        let cells = [agent.to_string(), now.name().to_owned(), before.name().to_owned(), jobs.to_string()];
        listing.row(cells, one)?;
    }
    Ok(listing)
}

fn time(at: Timestamp) -> String {
    format!("{} UTC", view::clock_time(at))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use host::tasks::Tasks;
    use streams::{
        kv::{Bucket, BucketName},
        testing::TestServer,
    };

    use super::*;

    fn record(duty: Duty) -> AgentRecord {
        AgentRecord {
            agent: "a".parse().unwrap(),
            place: "here".parse().unwrap(),
            host: "host-1".to_owned(),
            pid: 1,
            run: uuid::Uuid::nil(),
            version: "0".to_owned(),
            started_at: Timestamp(1),
            at: Timestamp(1),
            classes: vec![],
            jobs: vec![],
            duty,
        }
    }

    /// An agent that is drained a moment after it was asked.
    async fn play(nats: Nats, agents: Bucket<AgentRecord>, drained: Arc<AtomicBool>) -> anyhow::Result<()> {
        let mut calls = nats.serve("ctl.agent.a.*").await?;
        agents.put("a", &record(Duty::Serving)).await?;
        while let Some(call) = calls.next().await {
            let DutyRequest { duty, .. } = call.decode()?;
            agents.put("a", &record(duty)).await?;
            let taken = DutyTaken { agent: "a".parse()?, before: Duty::Serving, now: duty, jobs: 0 };
            call.answer(&taken).await?;
            if let Duty::Draining { until } = duty {
                tokio::time::sleep(LOOK_EVERY * 2).await;
                drained.store(true, Ordering::SeqCst);
                agents.put("a", &record(Duty::Drained { at: until })).await?;
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn agents_are_told_by_name_or_place_and_a_drain_waits_until_it_holds() {
        let server = TestServer::start().await;
        let nats = server.connect_with_layout(Duration::from_secs(20)).await;
        let agents: Bucket<AgentRecord> = Bucket::open(&nats, BucketName::Agents).await.unwrap();
        let (tasks, drained) = (Tasks::new(), Arc::new(AtomicBool::new(false)));
        tasks.spawn("agent a", play(nats.clone(), agents.clone(), Arc::clone(&drained)));
        let chosen = |name: Option<&str>, place: Option<&str>| Chosen {
            names: name.iter().map(|name| name.parse().unwrap()).collect(),
            place: place.map(|place| place.parse().unwrap()),
        };
        streams::testing::wait_for(Duration::from_secs(20), async || match agents.get("a").await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        tell(&nats, &chosen(Some("a"), None), Duty::Cordoned, Format::Json).await.unwrap();
        assert_eq!(agents.get("a").await.unwrap().unwrap().value.duty, Duty::Cordoned);
        let here = chosen(None, Some("here"));
        let policy = PolicyOverride::default();
        drain(&nats, &here, Duration::from_secs(60), true, &policy, Format::Json).await.unwrap();
        assert!(drained.load(Ordering::SeqCst), "it did not wait");
        for (absent, words) in [(chosen(Some("b"), None), "agent b is not alive"), (chosen(None, Some("x")), "place x")]
        {
            let error = tell(&nats, &absent, Duty::Paused, Format::Json).await.unwrap_err();
            assert_eq!(error.exit, Exit::NotFound);
            assert!(error.to_string().contains(words) && error.hint.is_some(), "{}", error.render());
        }
        tasks.token().cancel();
        agents.put("z", &AgentRecord { agent: "z".parse().unwrap(), ..record(Duty::Serving) }).await.unwrap();
        let error = tell(&nats, &chosen(Some("z"), None), Duty::Paused, Format::Json).await.unwrap_err();
        assert_eq!(error.exit, Exit::Unavailable);
    }
}
