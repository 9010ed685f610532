//! `coordinator tasks why`: reads the facts from the buckets, so that it answers while no coordinator leads.

use chain::policy::NetworkPolicy;
use host::{exit::CliError, output::Format};
use streams::{
    id::SectorId,
    kv::BucketName,
    nats::Nats,
    records::{ChainHead, OutboxEntry, StoreRecord},
    report,
    sector::{SectorRecord, SectorState},
};

use super::listings::{agent_records, no_sector, open, values};
use crate::{app::unavailable, config::Config, view, why};

pub(super) async fn tell(nats: &Nats, config: &Config, id: SectorId, format: Format) -> Result<(), CliError> {
    let entry = open::<SectorRecord>(nats, BucketName::Sectors).await?.get(&id.key()).await;
    let record = entry.map_err(|e| unavailable("read the sector", e))?.ok_or_else(|| no_sector(id))?.value;
    let queued = report::task_pointers(nats).await.map_err(|e| unavailable("read tasks", e))?;
    let results = report::open_results(nats).await.map_err(|e| unavailable("read results", e))?;
    let agents = agent_records(nats).await?;
    let stores = values::<StoreRecord>(nats, BucketName::Stores).await?;
    let heads = open::<ChainHead>(nats, BucketName::Chain).await?;
    let head = heads.get("head").await.map_err(|e| unavailable("read the chain's head", e))?.map(|entry| entry.value);
    let outbox = outbox(nats, &record).await?;
    let network = head.as_ref().and_then(|head| NetworkPolicy::for_network(&head.network));
    let policy = network.map(|policy| policy.overridden(&config.policy));
    let facts = why::Facts {
        record: &record,
        queued: &queued,
        unsettled: results.iter().any(|result| result.sector == id),
        agents: &agents,
        stores: &stores,
        head: head.as_ref(),
        outbox: outbox.as_ref(),
        batch: &config.batch,
        policy: policy.as_ref(),
        now: view::now(),
    };
    view::why::list(&why::why(&facts))?.print(format)
}

/// The message it joined, while it is in one.
async fn outbox(nats: &Nats, record: &SectorRecord) -> Result<Option<OutboxEntry>, CliError> {
    let (SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. }) =
        record.state.of_chain()
    else {
        return Ok(None);
    };
    let key = format!("{}.{}", message.sender, message.nonce);
    let entry = open::<OutboxEntry>(nats, BucketName::Messages).await?.get(&key).await;
    Ok(entry.map_err(|e| unavailable("read the outbox", e))?.map(|entry| entry.value))
}
