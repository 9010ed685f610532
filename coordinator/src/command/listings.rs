//! Listings: read from the buckets directly, so that they work while no coordinator leads.

use host::{
    exit::{CliError, Exit},
    output::Format,
};
use streams::{
    id::{MinerId, SectorId},
    kv::{Bucket, BucketName},
    message::Text,
    nats::Nats,
    records::{AgentRecord, ChainHead, OutboxEntry},
    report,
    sector::SectorRecord,
};

use crate::{app::unavailable, view};

async fn open<T: Text>(nats: &Nats, name: BucketName) -> Result<Bucket<T>, CliError> {
    Bucket::open(nats, name).await.map_err(|e| unavailable("open a bucket", e))
}

pub(super) fn no_sector(id: SectorId) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no sector {id}")).hint("see `coordinator sectors list`")
}

pub(super) async fn sectors(
    nats: &Nats,
    state: Option<&str>,
    miner: Option<MinerId>,
    format: Format,
) -> Result<(), CliError> {
    if let Some(state) = state.filter(|state| !view::sectors::STATES.contains(state)) {
        return Err(CliError::new(Exit::Usage, format!("there is no state \"{state}\""))
            .hint(format!("the states are {}", view::sectors::STATES.join(", "))));
    }
    let filter = miner.map_or_else(|| ">".to_owned(), |miner| format!("{miner}.*"));
    let bucket: Bucket<SectorRecord> = open(nats, BucketName::Sectors).await?;
    let entries = bucket.entries(&filter).await.map_err(|e| unavailable("read sectors", e))?;
    let mut records: Vec<SectorRecord> = entries
        .into_iter()
        .map(|entry| entry.value)
        .filter(|record| state.is_none_or(|state| record.state.name() == state))
        .collect();
    records.sort_by_key(|record| record.id);
    view::sectors::list(&records, view::now())?.print(format)
}

pub(super) async fn sector(nats: &Nats, id: SectorId, format: Format) -> Result<(), CliError> {
    let bucket: Bucket<SectorRecord> = open(nats, BucketName::Sectors).await?;
    let entry = bucket.get(&id.key()).await.map_err(|e| unavailable("read the sector", e))?;
    let mut record = entry.ok_or_else(|| no_sector(id))?.value;
    let outbox: Bucket<OutboxEntry> = open(nats, BucketName::Messages).await?;
    for note in record.messages.iter_mut().filter(|note| note.cid.is_none()) {
        let key = format!("{}.{}", note.message.sender, note.message.nonce);
        let entry = outbox.get(&key).await.map_err(|e| unavailable("read the outbox", e))?;
        note.cid = entry.and_then(|entry| entry.value.signed.last().map(|signed| signed.cid.clone()));
    }
    let heads: Bucket<ChainHead> = open(nats, BucketName::Chain).await?;
    let head = heads.get("head").await.map_err(|e| unavailable("read the chain's head", e))?.map(|entry| entry.value);
    view::show::story(&record, head.as_ref(), view::now())?.print(format)
}

pub(super) async fn tasks(nats: &Nats, format: Format) -> Result<(), CliError> {
    let pointers = report::task_pointers(nats).await.map_err(|e| unavailable("read tasks", e))?;
    let agents = agent_records(nats).await?;
    view::tasks::list(&pointers, &agents, view::now())?.print(format)
}

pub(super) async fn agents(nats: &Nats, format: Format) -> Result<(), CliError> {
    let agents = agent_records(nats).await?;
    view::agents::list(&agents, view::now())?.print(format)
}

async fn agent_records(nats: &Nats) -> Result<Vec<AgentRecord>, CliError> {
    let bucket: Bucket<AgentRecord> = open(nats, BucketName::Agents).await?;
    let entries = bucket.entries(">").await.map_err(|e| unavailable("read agents", e))?;
    let mut agents: Vec<AgentRecord> = entries.into_iter().map(|entry| entry.value).collect();
    agents.sort_by(|a, b| a.agent.cmp(&b.agent));
    Ok(agents)
}
