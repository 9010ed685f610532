//! `coordinator tasks why`: what a sector waits for.

use host::{
    exit::CliError,
    output::{Column, Listing},
};

use crate::why::Why;

pub(crate) fn list(reasons: &[Why]) -> Result<Listing, CliError> {
    let mut listing =
        Listing::new([Column::new("SECTOR"), Column::new("WHAT"), Column::new("REASON"), Column::new("IN WORDS")]);
    for why in reasons {
        let cells = [why.sector.to_string(), why.what.clone(), why.code.to_owned(), why.words.clone()];
        listing.row(cells, why)?;
    }
    Ok(listing)
}
