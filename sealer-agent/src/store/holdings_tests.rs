//! Pages of what stores hold.

use std::{collections::BTreeSet, fs};

use host::durable;
use streams::{
    id::{MinerId, SectorNumber, Timestamp},
    message::Facts,
    proof::{Bytes32, Drawn},
    stage::Stage,
};

use super::*;
use crate::{
    sample::allocated,
    store::{copy::Pulse, local::LocalStore, manifest::Mark, persistent::PersistentStore},
};

struct Stocked {
    _dir: tempfile::TempDir,
    stores: Stores,
}

fn stores() -> Stocked {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str, persistent| {
        let path = dir.path().join(name);
        (identity::init(&path, persistent, Timestamp(1)).unwrap().store, path)
    };
    let ((local, local_path), (kept, kept_path)) = (made("local", false), made("kept", true));
    let stores = Stores {
        local: vec![LocalStore::new(local, local_path)],
        persistent: vec![PersistentStore::new(kept, kept_path)],
        ..Stores::default()
    };
    Stocked { _dir: dir, stores }
}

fn all(stores: &Stores) -> Vec<Page> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = page(stores, &"here".parse().unwrap(), after);
        after = page.next;
        pages.push(page);
        if after.is_none() {
            return pages;
        }
    }
}

#[test]
fn pages_tell_every_sector_once() {
    let place = stores();
    let local = &place.stores.local[0];
    for number in 0..230 {
        local.reserve(&allocated(number), 0, Timestamp(1)).unwrap();
    }
    let pages = all(&place.stores);
    let sizes: Vec<usize> = pages.iter().map(|page| page.holdings.len()).collect();
    assert_eq!(sizes, [200, 30]);
    let told: BTreeSet<_> = pages.iter().flat_map(|page| &page.holdings).map(|holding| holding.sector).collect();
    assert_eq!(told.len(), 230);
    assert!(pages.iter().all(|page| page.high_water.get(&MinerId(1000)) == Some(&SectorNumber(229))));
}

#[test]
fn a_holding_says_what_the_manifest_says() {
    let place = stores();
    let (local, kept) = (&place.stores.local[0], &place.stores.persistent[0]);
    let one = allocated(7);
    local.reserve(&one, 0, Timestamp(1)).unwrap();
    let ticket = Some(Drawn { epoch: 5, value: Bytes32([3; 32]) });
    let mark = Mark { incarnation: one.incarnation.next(), generation: 2, ticket };
    local.begin(one.id, Stage::Pc1, mark).unwrap();
    local.finish(one.id, Facts::Pc1 {}, mark).unwrap();
    let files = local.files(one.id);
    for name in ["p_aux", "t_aux", "sc-02-data-tree-r-last.dat"] {
        durable::write(&files.cache().join(name), b"file").unwrap();
    }
    durable::write(&files.sealed(), b"replica").unwrap();
    let manifest = local.manifest(one.id).unwrap();
    let digest = kept.copy(&files, &manifest, &Pulse::default()).unwrap();
    kept.vouch(&manifest, digest).unwrap();

    let page = all(&place.stores).remove(0);
    assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
    let told = |persistent| page.holdings.iter().find(|holding| holding.persistent == persistent).unwrap();
    for holding in [told(false), told(true)] {
        assert_eq!((holding.incarnation, holding.generation, holding.ticket), (one.incarnation.next(), 2, ticket));
        assert!(holding.done.contains(&Facts::Pc1 {}));
    }
    assert_eq!((told(false).sealed_sha256, told(true).sealed_sha256), (None, Some(digest)));
}

#[test]
fn what_is_gone_or_unreadable_is_told() {
    let place = stores();
    let local = &place.stores.local[0];
    for number in [3, 9] {
        local.reserve(&allocated(number), 0, Timestamp(1)).unwrap();
    }
    durable::remove_dir_all(&local.files(allocated(9).id).root).unwrap();
    durable::write(&local.files(allocated(3).id).manifest(), b"{}").unwrap();
    let page = all(&place.stores).remove(0);
    assert_eq!(page.high_water.get(&MinerId(1000)), Some(&SectorNumber(9)), "the number of a sector that is gone");
    assert!(page.holdings.is_empty());
    assert!(matches!(&page.unreadable[..], [(path, _)] if path.ends_with("s-t01000-3/manifest.json")), "{page:?}");

    durable::write(&paths::high_water(&local.path), b"{}").unwrap();
    assert_eq!(all(&place.stores).remove(0).unreadable.len(), 2);
}

#[test]
fn a_store_that_is_away_is_told_and_not_empty() {
    let place = stores();
    fs::remove_file(place.stores.persistent[0].path.join(paths::IDENTITY)).unwrap();
    let page = all(&place.stores).remove(0);
    assert!(matches!(&page.unreadable[..], [(_, why)] if why.contains("mounted")), "{page:?}");
}
