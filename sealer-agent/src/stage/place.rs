//! Finding room for a sector's whole life.

use streams::{id::StoreId, message::Facts, sector::SectorRecord};

use super::Tools;
use crate::{
    blocking::blocking,
    halt::{Halt, ROOM_DELAY},
    now::now,
    store::{StoreError, Stores, local::Reserved},
};

/// Promises room in the local store that has the most; back to the queue when none has enough.
pub(crate) async fn run(tools: &Tools, record: &SectorRecord) -> Result<Facts, Halt> {
    let (stores, record, keep_free) = (tools.stores.clone(), record.clone(), tools.keep_free);
    let found = blocking(move || find(&stores, &record, keep_free)).await?;
    found.map_err(|reason| Halt::back(ROOM_DELAY, reason)).map(|store| Facts::Place { store })
}

fn find(stores: &Stores, record: &SectorRecord, keep_free: u64) -> Result<Result<StoreId, String>, StoreError> {
    // A redelivery after a lost answer: the room is promised already.
    for store in &stores.local {
        match store.manifest(record.id) {
            Ok(_) => return Ok(Ok(store.id)),
            Err(StoreError::SectorMissing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut by_room = Vec::new();
    for store in &stores.local {
        by_room.push((store.room(keep_free)?, store));
    }
    by_room.sort_by_key(|(room, _)| std::cmp::Reverse(*room));
    let mut best = "this agent has no local store".to_owned();
    for (index, (_, store)) in by_room.into_iter().enumerate() {
        match store.reserve(record, keep_free, now())? {
            Reserved::Yes => return Ok(Ok(store.id)),
            Reserved::NoRoom { needed, room } if index == 0 => {
                best = format!(
                    "a {} sector needs {needed} bytes, and the roomiest store, {}, has {room}",
                    record.proof,
                    store.path.display()
                );
            }
            Reserved::NoRoom { .. } => {}
        }
    }
    Ok(Err(best))
}
