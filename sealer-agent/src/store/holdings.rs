//! What stores hold, page by page, as their manifests say.

use std::path::{Path, PathBuf};

use streams::{
    id::{Place, SectorId, StoreId},
    inventory::{Cursor, Holding, PAGE_HOLDINGS_MAX},
    message::encode,
};

use super::{
    StoreError, Stores,
    entries::{entries, name_of},
    high_water::{self, Numbers},
    identity,
    manifest::Manifest,
    paths::{self, SectorPaths},
};

/// Bytes of pieces in one page, so that it stays under the server's limit for a message.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) holdings: Vec<Holding>,
    pub(crate) high_water: Numbers,
    /// What cannot be read, by path, with the reason.
    pub(crate) unreadable: Vec<(String, String)>,
    pub(crate) next: Option<Cursor>,
}

/// A sector that a store holds.
#[derive(Debug)]
struct Held {
    at: Cursor,
    persistent: bool,
    manifest: PathBuf,
}

/// The holdings after `after`, and what the stores say as a whole.
pub(crate) fn page(stores: &Stores, place: &Place, after: Option<Cursor>) -> Page {
    let mut page = Page::default();
    let mut held = Vec::new();
    for store in &stores.local {
        look(&mut page, store.id, &store.path, |page| local(page, store.id, &store.path, &mut held));
    }
    for store in &stores.persistent {
        look(&mut page, store.id, &store.path, |page| persistent(page, store.id, &store.path, &mut held));
    }
    held.retain(|held| after.is_none_or(|after| held.at > after));
    held.sort_by_key(|held| held.at);
    fill(&mut page, place, held);
    page
}

fn look(page: &mut Page, store: StoreId, path: &Path, list: impl FnOnce(&mut Page) -> Result<(), StoreError>) {
    let looked = identity::require(path, store).and_then(|()| list(page)).and_then(|()| high_water::read(path));
    match looked {
        Ok(numbers) => {
            for (miner, number) in numbers {
                high_water::raise_in(&mut page.high_water, SectorId { miner, number });
            }
        }
        Err(error) => page.unreadable.push((path.display().to_string(), told(error))),
    }
}

/// A folder without a manifest holds nothing yet; its number was given all the same.
fn local(page: &mut Page, store: StoreId, path: &Path, held: &mut Vec<Held>) -> Result<(), StoreError> {
    for (sector, _) in sectors_in(&paths::sectors(path))? {
        high_water::raise_in(&mut page.high_water, sector);
        let manifest = SectorPaths::new(path, sector).manifest();
        if manifest.exists() {
            held.push(Held { at: Cursor { store, sector }, persistent: false, manifest });
        }
    }
    Ok(())
}

fn persistent(page: &mut Page, store: StoreId, path: &Path, held: &mut Vec<Held>) -> Result<(), StoreError> {
    for (sector, _) in sectors_in(&paths::replicas(path))? {
        high_water::raise_in(&mut page.high_water, sector);
    }
    for (sector, manifest) in sectors_in(&paths::manifests(path))? {
        high_water::raise_in(&mut page.high_water, sector);
        held.push(Held { at: Cursor { store, sector }, persistent: true, manifest });
    }
    Ok(())
}

/// The sectors that names in a folder tell, with their paths.
pub(crate) fn sectors_in(dir: &Path) -> Result<Vec<(SectorId, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in entries(dir)? {
        let name = name_of(&entry);
        if let Some(sector) = paths::sector_of(name.strip_suffix(".json").unwrap_or(&name)) {
            found.push((sector, entry));
        }
    }
    Ok(found)
}

fn fill(page: &mut Page, place: &Place, held: Vec<Held>) {
    let (count, mut bytes) = (held.len(), 0usize);
    for (index, Held { at, persistent, manifest }) in held.into_iter().enumerate() {
        match Manifest::read(&manifest) {
            Ok(Some(found)) => {
                bytes = bytes.saturating_add(encode(&found).map_or(0, |text| text.len()));
                page.holdings.push(holding(found, at.store, place, persistent));
            }
            // It went while we looked.
            Ok(None) => {}
            Err(error) => page.unreadable.push((manifest.display().to_string(), told(error))),
        }
        let looked_at = index.saturating_add(1);
        if (looked_at >= PAGE_HOLDINGS_MAX || bytes >= PAGE_BYTES_MAX) && looked_at < count {
            page.next = Some(at);
            return;
        }
    }
}

fn holding(manifest: Manifest, store: StoreId, place: &Place, persistent: bool) -> Holding {
    let sealed_sha256 = manifest.sealed_sha256().filter(|_| persistent);
    let Manifest { sector, proof, pieces, placed_at, mark, done, attached, reserved_bytes: _ } = manifest;
    Holding {
        store,
        place: place.clone(),
        persistent,
        sector,
        proof,
        pieces,
        incarnation: mark.incarnation,
        generation: mark.generation,
        ticket: mark.ticket,
        done,
        sealed_sha256,
        attached,
        placed_at,
    }
}

fn told(error: StoreError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[cfg(test)]
#[path = "holdings_tests.rs"]
mod tests;
