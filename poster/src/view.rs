//! What `poster deadlines` and `poster info` show, read from the node.

use anyhow::Context as _;
use chain::{ChainApi as _, api::TipSet, rpc::JsonRpc};
use host::{
    exit::{CliError, Exit},
    output::{Column, Details, Listing},
};
use serde::Serialize;
use streams::{
    id::{Epoch, MinerId},
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    records::DeadlineNow,
};

use crate::{
    calendar::{Row, by_deadline, relative, row, seconds},
    cli::Asked,
    config::Config,
};

/// A miner's period at one head.
struct Period {
    miner: MinerId,
    now: DeadlineNow,
    rows: Vec<Row>,
    block_delay_secs: u64,
}

/// Lists a miner's deadlines.
pub(crate) async fn deadlines(config: &Config, asked: &Asked) -> Result<(), CliError> {
    let period = read(config, asked).await?;
    let mut listing = Listing::new([
        Column::new("DEADLINE").right(),
        Column::new("CURRENT"),
        Column::new("OPEN").right(),
        Column::new("OPENS"),
        Column::new("CLOSE").right(),
        Column::wide("CLOSES"),
        Column::wide("CHALLENGE").right(),
        Column::new("PARTITIONS").right(),
        Column::new("SECTORS (FAULTS)").right(),
        Column::wide("RECOVERING").right(),
        Column::new("PROVEN").right(),
    ]);
    if asked.no_headers {
        listing = listing.without_headers();
    }
    for row in &period.rows {
        let current = match (row.current, row.is_open) {
            (true, true) => "open",
            (true, false) => "next",
            _ => "",
        };
        let cells = [
            row.deadline.to_string(),
            current.to_owned(),
            row.open.to_string(),
            relative(row.opens_in_secs),
            row.close.to_string(),
            relative(row.closes_in_secs),
            row.challenge.to_string(),
            row.partitions.to_string(),
            format!("{} ({})", row.sectors, row.faults),
            row.recovering.to_string(),
            row.proven.to_string(),
        ];
        listing.row(cells, row)?;
    }
    listing.print(asked.output)
}

#[derive(Serialize)]
struct Info<'a> {
    miner: MinerId,
    epoch: Epoch,
    period_start: Epoch,
    next_period_start: Epoch,
    fault_cutoff: Epoch,
    sectors: u64,
    faults: u64,
    recovering: u64,
    current: Option<&'a Row>,
}

/// Shows a miner's current deadline.
pub(crate) async fn info(config: &Config, asked: &Asked) -> Result<(), CliError> {
    let period = read(config, asked).await?;
    let now = &period.now;
    let sum = |of: fn(&Row) -> u64| period.rows.iter().map(of).sum::<u64>();
    let info = Info {
        miner: period.miner,
        epoch: now.epoch,
        period_start: now.period_start,
        next_period_start: now.period_start.saturating_add(now.proving_period),
        fault_cutoff: now.fault_cutoff,
        sectors: sum(|row| row.sectors),
        faults: sum(|row| row.faults),
        recovering: sum(|row| row.recovering),
        current: period.rows.iter().find(|row| row.current),
    };
    let at = |epoch: Epoch| {
        let away = seconds(epoch.saturating_sub(now.epoch), period.block_delay_secs);
        format!("{epoch} ({})", relative(away))
    };
    let mut details = Details::new(period.miner.to_string(), &info)?;
    details.fact("epoch", now.epoch.to_string());
    details.fact("period start", at(info.period_start));
    details.fact("next period start", at(info.next_period_start));
    details.fact("sectors", format!("{} ({} faulty, {} recovering)", info.sectors, info.faults, info.recovering));
    details.fact("deadline", format!("{} of {}", now.index, now.period_deadlines));
    details.fact("challenge", at(now.challenge));
    details.fact("open", at(now.open));
    details.fact("close", at(now.close));
    details.fact("fault cutoff", at(now.fault_cutoff));
    if let Some(row) = info.current {
        details.fact("proven", format!("{} of {} partitions", row.proven, row.partitions));
    }
    details.print(asked.output)
}

async fn read(config: &Config, asked: &Asked) -> Result<Period, CliError> {
    let node = JsonRpc::new(&config.chain.node())
        .map_err(|e| CliError::new(Exit::Config, "set up the chain node").because(e))?;
    let head = node.head().await.map_err(unreachable)?;
    let miner = match asked.miner {
        Some(miner) => miner,
        None => the_only(config).await?,
    };
    Ok(period(&node, miner, &head).await?)
}

fn unreachable(error: chain::ChainError) -> CliError {
    CliError::new(Exit::Unavailable, "read the chain's head")
        .because(error)
        .hint("is the node running? its address is `chain.api` in poster.toml, or --chain URL")
}

async fn period(node: &JsonRpc, miner: MinerId, head: &TipSet) -> anyhow::Result<Period> {
    let about = || format!("miner {miner}");
    let now = node.proving_deadline(miner, &head.key).await.with_context(about)?;
    let states = node.deadlines(miner, &head.key).await.with_context(about)?;
    let block_delay_secs = node.network_params().await?.block_delay_secs;
    let mut rows = Vec::new();
    for window in by_deadline(&now) {
        let index = usize::try_from(window.deadline).context("deadline index")?;
        let state = states.get(index).with_context(|| format!("the node lists no deadline {index}"))?;
        let partitions = node.partitions(miner, window.deadline, &head.key).await.with_context(about)?;
        rows.push(row(&now, &window, state, &partitions, block_delay_secs));
    }
    Ok(Period { miner, now, rows, block_delay_secs })
}

/// The one miner of the configuration, or of bucket `CHAIN`.
async fn the_only(config: &Config) -> Result<MinerId, CliError> {
    let known = if config.miners.is_empty() { seen(config).await? } else { config.miners.clone() };
    match known.as_slice() {
        [miner] => Ok(*miner),
        [] => Err(CliError::new(Exit::NotFound, "no miner is known").hint("name one with --miner f01000")),
        several => {
            let list = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(CliError::new(Exit::Usage, format!("which miner: {list}?")).hint("name one with --miner"))
        }
    }
}

async fn seen(config: &Config) -> Result<Vec<MinerId>, CliError> {
    let failed = |error: streams::error::QueueError| {
        let hint = error.hint();
        let told = CliError::new(Exit::Unavailable, "look up the known miners").because(error);
        match hint {
            Some(hint) => told.hint(format!("{hint}, or name a miner with --miner f01000")),
            None => told,
        }
    };
    let nats = NatsConfig {
        url: config.nats.url.clone(),
        name: "poster deadlines".to_owned(),
        connect_timeout: config.nats.connect_timeout,
    };
    let nats = Nats::connect(&nats).await.map_err(failed)?;
    let bucket: Bucket<DeadlineNow> = Bucket::open(&nats, BucketName::Chain).await.map_err(failed)?;
    let entries = bucket.entries("deadline.*").await.map_err(failed)?;
    Ok(entries.into_iter().map(|entry| entry.value.miner).collect())
}
