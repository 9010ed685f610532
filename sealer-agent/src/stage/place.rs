//! Finding room for a sector's whole life.

use streams::{id::StoreId, message::Facts, sector::SectorRecord};

use super::Tools;
use crate::{
    footprint,
    halt::{Halt, ROOM_DELAY},
    now::now,
    store::{
        StoreError, Stores,
        condition::Condition,
        local::{LocalStore, Reserved},
    },
};

/// Promises room in the local store that has the most; back to the queue when none has enough.
pub(crate) async fn run(tools: &Tools, record: &SectorRecord) -> Result<Facts, Halt> {
    let found = find(&tools.stores, record, tools.keep_free).await?;
    found.map_err(|reason| Halt::back(ROOM_DELAY, reason)).map(|store| Facts::Place { store })
}

/// A store that fails, or does not answer, is passed over: it must not keep sectors from the others.
async fn find(stores: &Stores, record: &SectorRecord, keep_free: u64) -> Result<Result<StoreId, String>, StoreError> {
    let mut why_not = "this agent has no local store".to_owned();
    let needed = footprint::sealing_bytes(record.proof);
    let mut by_room = Vec::new();
    for store in &stores.local {
        let condition = stores.health.condition(store.id);
        if !condition.is_ok() && !condition.can_be_read() {
            why_not = format!("{}: {condition}", store.path.display());
            continue;
        }
        let retired = stores.health.seen(store.id).is_some_and(|seen| seen.entry.is_closed());
        let (sector, on) = (record.id, store.clone());
        let asked = move || match on.manifest(sector) {
            // A redelivery after a lost answer: the room is promised already.
            Ok(_) => Ok(None),
            Err(StoreError::SectorMissing { .. }) => on.room(needed, keep_free).map(Some),
            Err(error) => Err(error),
        };
        match stores.health.within(store.id, &store.path, asked).await {
            Ok(None) => return Ok(Ok(store.id)),
            Ok(Some(_)) if retired => {
                why_not = format!("{}: it is retired, or read_only is set", store.path.display());
            }
            Ok(Some(room)) if condition == Condition::Full && room < needed => {
                why_not = no_room(record, store, room);
            }
            Ok(Some(_)) if !condition.is_ok() => why_not = format!("{}: {condition}", store.path.display()),
            Ok(Some(room)) => by_room.push((room, store)),
            Err(error) => why_not = passed_over(store, error),
        }
    }
    by_room.sort_by_key(|(room, store)| (std::cmp::Reverse(*room), store.id));
    for (index, (_, store)) in by_room.into_iter().enumerate() {
        let (on, reserved) = (store.clone(), record.clone());
        let reserve = move || on.reserve(&reserved, keep_free, now());
        match stores.health.within(store.id, &store.path, reserve).await {
            Ok(Reserved::Yes) => return Ok(Ok(store.id)),
            Ok(Reserved::NoRoom { room }) if index == 0 => why_not = no_room(record, store, room),
            Ok(Reserved::NoRoom { .. }) => {}
            // Another agent places there right now, and will be done sooner than another store is roomier.
            Err(error @ StoreError::Locked { .. }) => return Err(error),
            Err(error) => why_not = passed_over(store, error),
        }
    }
    Ok(Err(why_not))
}

fn no_room(record: &SectorRecord, store: &LocalStore, room: u64) -> String {
    let needed = footprint::sealing_bytes(record.proof);
    let path = store.path.display();
    format!("a {} sector needs {needed} bytes, and the roomiest store, {path}, has {room}", record.proof)
}

fn passed_over(store: &LocalStore, error: StoreError) -> String {
    let why = format!("{:#}", anyhow::Error::from(error));
    tracing::warn!(store = %store.path.display(), "passed over: {why}");
    why
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
