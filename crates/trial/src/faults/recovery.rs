//! Recovery times with every setting at its default, as rows of `make bench`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use streams::stage::Stage;

use super::{
    cluster::Cluster,
    inject,
    layout::{Layout, Pace},
    load::Load,
    rows::{self, Row},
    run::{mark, nothing_left, prepare},
    tally::Tally,
    view::is_done,
};

/// Long enough to be at work when the agent is killed.
const STAGE: Duration = Duration::from_secs(4);
const EPOCH: Duration = Duration::from_secs(1);
/// The longest recovery that is promised.
const AGENT_LIMIT_S: f64 = 65.0;
const COORDINATOR_LIMIT_S: f64 = 10.0;
const SERVER_LIMIT_S: f64 = 10.0;
const SECTORS: usize = 8;
/// How long sectors may take to their end with a server less.
const SETTLE_MAX: Duration = Duration::from_secs(180);

/// `faults recovery`.
pub(super) async fn measure(dir: PathBuf) -> Result<(), CliError> {
    prepare(&dir)?;
    let dir = dir.canonicalize().context("resolve the folder")?;
    let mark = mark(0);
    let pace = Pace { epoch: EPOCH, ack_wait: None, reconcile: None, stage: STAGE };
    let cluster = Box::pin(Cluster::start(Layout::new(&dir, pace, &mark, false)?)).await?;
    let mut measured = Box::pin(rows(&cluster)).await;
    let mut tally = Tally::default();
    for wrong in cluster.stop().await {
        tally.violation(wrong);
    }
    if let Ok(rows) = &mut measured {
        rows.push(Box::pin(leader_loss(&dir, pace, &mark, &mut tally)).await?);
    }
    nothing_left(&mut tally, &mark).await;
    let rows = measured?;
    rows::print("recovery", &rows)?;
    let slow: Vec<&str> = rows.iter().filter(|row| row.ratio > 1.0).map(|row| row.name.as_str()).collect();
    if let Some(violation) = tally.violations().first() {
        return Err(CliError::new(Exit::Failure, violation.clone()));
    }
    if slow.is_empty() { Ok(()) } else { Err(CliError::new(Exit::Failure, format!("too slow: {}", slow.join(", ")))) }
}

async fn rows(cluster: &Arc<Cluster>) -> anyhow::Result<Vec<Row>> {
    let load = Load::default();
    load.submit_once(cluster, SECTORS).await?;
    let mut rows = Vec::new();
    let bound = inject::until_taken_over(cluster, Stage::Pc1).await?;
    rows.push(row("recovery: agent killed in PC1, its task runs at the same place", bound, AGENT_LIMIT_S));
    let free = inject::until_taken_over(cluster, Stage::C2).await?;
    rows.push(row("recovery: agent killed in C2, its task runs elsewhere", free, AGENT_LIMIT_S));
    let began = Instant::now();
    inject::fail_over(cluster).await?;
    rows.push(row("recovery: leading coordinator killed, another leads", began.elapsed(), COORDINATOR_LIMIT_S));
    Ok(rows)
}

fn row(name: &str, took: Duration, limit_s: f64) -> Row {
    Row::limited(name, took.as_secs_f64(), "s", limit_s)
}

/// Three servers under load; the one that leads the records is killed: until a record changes again. Then every sector
/// has to come to its end.
async fn leader_loss(dir: &Path, pace: Pace, mark: &str, tally: &mut Tally) -> anyhow::Result<Row> {
    let pace = Pace { stage: Duration::from_millis(300), ..pace };
    let dir = dir.join("three");
    host::durable::create_dir_all(&dir).context("create a folder")?;
    let layout = Layout { servers: 3, ..Layout::new(&dir, pace, mark, false)? };
    let cluster = Box::pin(Cluster::start(layout)).await?;
    let load = Load::default();
    load.submit_once(&cluster, SECTORS).await?;
    let took = inject::pause_without_leader(&cluster).await;
    let began = Instant::now();
    let is_over = || cluster.view.sectors().iter().all(is_done);
    while !is_over() && began.elapsed() < SETTLE_MAX {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for record in cluster.view.sectors().iter().filter(|record| !is_done(record)) {
        tally.violation(format!("{} did not come to its end: {}", record.id, record.state.name()));
    }
    for wrong in cluster.stop().await {
        tally.violation(wrong);
    }
    let name = "recovery: leading nats-server of three killed, records change again";
    Ok(row(name, took?, SERVER_LIMIT_S))
}
