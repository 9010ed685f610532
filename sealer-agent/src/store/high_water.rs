//! The highest sector number of each miner that a store ever held, also of sectors that are gone: after a total loss of
//! the queue, numbers are given well above it.

use std::{collections::BTreeMap, path::Path};

use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    message::{Text, decode, encode},
};

use super::{StoreError, paths, turn};

/// The highest number of each miner.
pub(crate) type Numbers = BTreeMap<MinerId, SectorNumber>;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HighWater {
    miners: Numbers,
}

impl Text for HighWater {
    const KIND: &'static str = "store-high-water";
    const VERSION: u64 = 1;
}

/// What a store has written down; nothing in one that was made before it was written.
pub(crate) fn read(store: &Path) -> Result<Numbers, StoreError> {
    let path = paths::high_water(store);
    let Some(bytes) = durable::read(&path).map_err(StoreError::io("read", &path))? else { return Ok(Numbers::new()) };
    let found: HighWater = decode(&bytes).map_err(|source| StoreError::Text { path, source })?;
    Ok(found.miners)
}

/// Writes a number down before anything of its sector is there. It is never lowered; a file that cannot be read is not
/// replaced, and the store then takes no new sector.
pub(crate) fn raise(store: &Path, sector: SectorId) -> Result<(), StoreError> {
    let _turn = turn::take(&paths::high_water_lock(store), turn::SHORT)?;
    let mut miners = read(store)?;
    if !raise_in(&mut miners, sector) {
        return Ok(());
    }
    let path = paths::high_water(store);
    let bytes = encode(&HighWater { miners }).map_err(|source| StoreError::Text { path: path.clone(), source })?;
    durable::write(&path, &bytes).map_err(StoreError::io("write", &path))?;
    host::failpoint!("agent.high_water.raised");
    Ok(())
}

/// Whether `sector` is higher than what is known of its miner; then it is from now on.
pub(crate) fn raise_in(miners: &mut Numbers, sector: SectorId) -> bool {
    let known = miners.get(&sector.miner);
    let is_higher = known.is_none_or(|known| *known < sector.number);
    if is_higher {
        miners.insert(sector.miner, sector.number);
    }
    is_higher
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn sector(key: &str) -> SectorId {
        SectorId::from_key(key).unwrap()
    }

    #[test]
    fn it_rises_by_miner_and_never_falls() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_empty());
        for key in ["f01000.7", "f01000.3", "f02000.1"] {
            raise(dir.path(), sector(key)).unwrap();
        }
        let numbers: Vec<_> = read(dir.path()).unwrap().into_iter().map(|(miner, n)| (miner.0, n.0)).collect();
        assert_eq!(numbers, [(1000, 7), (2000, 1)]);
    }

    #[test]
    fn agents_that_raise_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for miner in 1..=8 {
                let (dir, sector) = (dir.path(), sector(&format!("f0{miner}.5")));
                scope.spawn(move || raise(dir, sector).unwrap());
            }
        });
        assert_eq!(read(dir.path()).unwrap().len(), 8);
    }

    #[test]
    fn one_that_cannot_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        durable::write(&paths::high_water(dir.path()), b"{}").unwrap();
        let refused = raise(dir.path(), sector("f01000.1")).unwrap_err();
        assert!(matches!(refused, StoreError::Text { .. }), "{refused}");
        assert_eq!(durable::read(&paths::high_water(dir.path())).unwrap().unwrap(), b"{}");
    }
}
