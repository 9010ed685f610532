//! `coordinator store …`.

use host::{exit::CliError, output::Format};
use streams::{
    control::{StoreFoundRequest, StoreLostRequest},
    id::StoreId,
    kv::BucketName,
    lost::LostStore,
    nats::Nats,
    records::StoreRecord,
};

use super::{
    ask::{ANSWERED_WITHIN, ask},
    listings::{open, values},
};
use crate::{app::unavailable, view};

pub(super) async fn lost(nats: &Nats, store: StoreId, because: String) -> Result<(), CliError> {
    let noted = ask(nats, &StoreLostRequest { store, because }, ANSWERED_WITHIN).await?;
    if noted.changed {
        eprintln!("store {store} is given up: what was being sealed in it is sealed anew; nothing new is placed there");
    } else {
        eprintln!("store {store} was given up before");
    }
    Ok(())
}

pub(super) async fn found(nats: &Nats, store: StoreId) -> Result<(), CliError> {
    let noted = ask(nats, &StoreFoundRequest { store }, ANSWERED_WITHIN).await?;
    if noted.changed {
        eprintln!("sectors may be placed in store {store} again; those that left it stay where they are");
    } else {
        eprintln!("store {store} was not given up");
    }
    Ok(())
}

pub(super) async fn list(nats: &Nats, format: Format) -> Result<(), CliError> {
    let mut stores = values::<StoreRecord>(nats, BucketName::Stores).await?;
    stores.sort_by(|a, b| (&a.place, a.store).cmp(&(&b.place, b.store)));
    let marks = open::<LostStore>(nats, BucketName::Cluster).await?.entries(LostStore::FILTER).await;
    let lost: Vec<LostStore> =
        marks.map_err(|e| unavailable("read lost stores", e))?.into_iter().map(|entry| entry.value).collect();
    view::stores::list(&stores, &lost, view::now())?.print(format)
}
