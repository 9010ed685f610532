//! Finding room for a sector's whole life.

use streams::{id::StoreId, message::Facts, sector::SectorRecord};

use super::Tools;
use crate::{
    blocking::blocking,
    halt::{Halt, ROOM_DELAY},
    now::now,
    store::{
        StoreError, Stores,
        local::{LocalStore, Reserved},
    },
};

/// Promises room in the local store that has the most; back to the queue when none has enough.
pub(crate) async fn run(tools: &Tools, record: &SectorRecord) -> Result<Facts, Halt> {
    let (stores, record, keep_free) = (tools.stores.clone(), record.clone(), tools.keep_free);
    let found = blocking(move || find(&stores, &record, keep_free)).await?;
    found.map_err(|reason| Halt::back(ROOM_DELAY, reason)).map(|store| Facts::Place { store })
}

/// A store that fails is passed over: it must not keep sectors from the others.
fn find(stores: &Stores, record: &SectorRecord, keep_free: u64) -> Result<Result<StoreId, String>, StoreError> {
    let mut why_not = "this agent has no local store".to_owned();
    let mut without = Vec::new();
    // A redelivery after a lost answer: the room is promised already.
    for store in &stores.local {
        match store.manifest(record.id) {
            Ok(_) => return Ok(Ok(store.id)),
            Err(StoreError::SectorMissing { .. }) => without.push(store),
            Err(error) => why_not = passed_over(store, error),
        }
    }
    let mut by_room = Vec::new();
    for store in without {
        match store.room(keep_free) {
            Ok(room) => by_room.push((room, store)),
            Err(error) => why_not = passed_over(store, error),
        }
    }
    by_room.sort_by_key(|(room, _)| std::cmp::Reverse(*room));
    for (index, (_, store)) in by_room.into_iter().enumerate() {
        match store.reserve(record, keep_free, now()) {
            Ok(Reserved::Yes) => return Ok(Ok(store.id)),
            Ok(Reserved::NoRoom { needed, room }) if index == 0 => {
                why_not = format!(
                    "a {} sector needs {needed} bytes, and the roomiest store, {}, has {room}",
                    record.proof,
                    store.path.display()
                );
            }
            Ok(Reserved::NoRoom { .. }) => {}
            // Another agent places there right now, and will be done sooner than another store is roomier.
            Err(error @ StoreError::Locked { .. }) => return Err(error),
            Err(error) => why_not = passed_over(store, error),
        }
    }
    Ok(Err(why_not))
}

fn passed_over(store: &LocalStore, error: StoreError) -> String {
    let why = format!("{:#}", anyhow::Error::from(error));
    tracing::warn!(store = %store.path.display(), "passed over: {why}");
    why
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
