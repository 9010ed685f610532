//! `coordinator agents list`.

use host::{
    exit::CliError,
    output::{Column, Listing, size},
};
use streams::{
    duty::Duty,
    id::Timestamp,
    records::{AgentRecord, ClassSlots, JobNow, JobSubject},
};

use super::{clock_time, span};

pub(crate) fn list(agents: &[AgentRecord], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("AGENT"),
        Column::new("PLACE"),
        Column::new("DUTY"),
        Column::new("CLASSES (USED/SLOTS)"),
        Column::new("WORK"),
        Column::new("LAST BEAT").right(),
        Column::wide("HOST"),
        Column::wide("PID").right(),
        Column::wide("VERSION"),
        Column::wide("UP").right(),
    ]);
    for agent in agents {
        let slots = |c: &ClassSlots| format!("{} {}/{}", c.class, c.used, c.slots);
        let cells = [
            agent.agent.to_string(),
            agent.place.to_string(),
            duty(agent.duty),
            agent.classes.iter().map(slots).collect::<Vec<_>>().join(", "),
            agent.jobs.iter().map(|job| work(job, now)).collect::<Vec<_>>().join("; "),
            span(now.ms_since(agent.at)),
            agent.host.clone(),
            agent.pid.to_string(),
            agent.version.clone(),
            span(now.ms_since(agent.started_at)),
        ];
        listing.row(cells, agent)?;
    }
    Ok(listing)
}

/// `draining until 2026-11-23 01:25:50`.
fn duty(duty: Duty) -> String {
    match duty {
        Duty::Draining { until } => format!("draining until {}", clock_time(until)),
        Duty::Drained { at } => format!("drained {}", clock_time(at)),
        Duty::Serving | Duty::Cordoned | Duty::Paused => duty.name().to_owned(),
    }
}

/// `pc1 f01000/1 (layer 1 of 2, 45%, 12s)`.
fn work(job: &JobNow, now: Timestamp) -> String {
    let what = match &job.what {
        JobSubject::Sector { sector, stage } => format!("{stage} {sector}"),
        JobSubject::Partition { class, miner, open, partition } => {
            format!("{class} {miner} deadline at {open}, partition {partition}")
        }
    };
    format!("{what} ({}, {})", progress(job), span(now.ms_since(job.started_at)))
}

/// How far a job is.
pub(super) fn progress(job: &JobNow) -> String {
    let mut text = job.phase.clone();
    if let Some(permille) = job.permille {
        text = format!("{text}, {}%", permille / 10);
    }
    if let Some(rate) = job.bytes_per_s {
        text = format!("{text}, {}/s", size(rate));
    }
    match job.left_ms {
        Some(left_ms) => format!("{text}, {} left", span(left_ms)),
        None => text,
    }
}
