//! Listings: read from the buckets directly, so that they work while no coordinator leads.

use std::collections::BTreeMap;

use host::{
    exit::{CliError, Exit},
    output::Format,
};
use streams::{
    id::{MinerId, SectorId},
    kv::{Bucket, BucketName, Scanned},
    message::Text,
    nats::Nats,
    records::{AgentRecord, ChainHead, OutboxEntry},
    report,
    sector::SectorRecord,
};

use crate::{app::unavailable, view};

pub(super) async fn open<T: Text>(nats: &Nats, name: BucketName) -> Result<Bucket<T>, CliError> {
    Bucket::open(nats, name).await.map_err(|e| unavailable("open a bucket", e))
}

pub(super) fn no_sector(id: SectorId) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no sector {id}")).hint("see `coordinator sectors list`")
}

/// Which sectors a person wants to see.
pub(super) struct Choice {
    pub(super) state: Option<String>,
    pub(super) parked: bool,
    pub(super) miner: Option<MinerId>,
}

pub(super) async fn sectors(nats: &Nats, choice: &Choice, format: Format) -> Result<(), CliError> {
    let state = if choice.parked { Some("parked") } else { choice.state.as_deref() };
    if let Some(state) = state.filter(|state| !view::sectors::STATES.contains(state)) {
        return Err(CliError::new(Exit::Usage, format!("there is no state \"{state}\""))
            .hint(format!("the states are {}", view::sectors::STATES.join(", "))));
    }
    let filter = choice.miner.map_or_else(|| ">".to_owned(), |miner| format!("{miner}.*"));
    let failed = |e| unavailable("read sectors", e);
    let mut scan = open::<SectorRecord>(nats, BucketName::Sectors).await?.each(&filter).await.map_err(failed)?;
    let mut records: BTreeMap<SectorId, SectorRecord> = BTreeMap::new();
    while let Some(scanned) = scan.next().await.map_err(failed)? {
        match scanned {
            Scanned::Entry(entry) if state.is_none_or(|state| entry.value.state.name() == state) => {
                records.insert(entry.value.id, entry.value);
            }
            // What came first may have moved on meanwhile.
            Scanned::Entry(entry) => drop(records.remove(&entry.value.id)),
            Scanned::Unreadable { key, error } => {
                eprintln!("warning: sector {key} cannot be read: {}", host::exit::chain(&error));
            }
        }
    }
    let records: Vec<SectorRecord> = records.into_values().collect();
    let now = view::now();
    if choice.parked {
        return view::sectors::parked(&records, now)?.print(format);
    }
    view::sectors::list(&records, now)?.print(format)
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

pub(super) async fn agent_records(nats: &Nats) -> Result<Vec<AgentRecord>, CliError> {
    let mut agents = values::<AgentRecord>(nats, BucketName::Agents).await?;
    agents.sort_by(|a, b| a.agent.cmp(&b.agent));
    Ok(agents)
}

/// Every value of a bucket.
pub(super) async fn values<T: Text>(nats: &Nats, name: BucketName) -> Result<Vec<T>, CliError> {
    let entries = open::<T>(nats, name).await?.entries(">").await;
    let entries = entries.map_err(|e| unavailable(&format!("read bucket {name}"), e))?;
    Ok(entries.into_iter().map(|entry| entry.value).collect())
}
