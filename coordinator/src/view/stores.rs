//! `coordinator store list`.

use host::{
    exit::CliError,
    output::{Column, Listing},
};
use serde::Serialize;
use streams::{id::Timestamp, lost::LostStore, records::StoreRecord};

use super::span;

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    store: &'a StoreRecord,
    lost: Option<&'a LostStore>,
}

pub(crate) fn list(stores: &[StoreRecord], lost: &[LostStore], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("STORE"),
        Column::new("PLACE"),
        Column::new("KIND"),
        Column::new("STATE"),
        Column::new("SECTORS").right(),
        Column::new("FREE").right(),
        Column::new("LAST SEEN").right(),
        Column::new("NOTE"),
        Column::wide("PATH"),
    ]);
    for store in stores {
        let lost = lost.iter().find(|lost| lost.store == store.store);
        let cells = [
            store.store.to_string(),
            store.place.to_string(),
            if store.persistent { "persistent" } else { "local" }.to_owned(),
            store.state.name().to_owned(),
            store.sectors.to_string(),
            format!("{} of {} GiB", store.bytes_free >> 30, store.bytes_total >> 30),
            span(now.ms_since(store.at)),
            lost.map_or_else(|| store.why.clone(), |lost| format!("given up: {}", lost.because)),
            store.path.clone(),
        ];
        listing.row(cells, &Row { store, lost })?;
    }
    Ok(listing)
}
