//! C2: needs no file of the sector but what C1 made, and so runs anywhere.

use streams::{
    message::Facts,
    sector::{SectorRecord, SectorState},
};

use super::Tools;
use crate::{
    child::AtWork,
    halt::{BUSY_DELAY, Halt},
    outcome, request,
};

/// Fetches the vanilla proofs and makes the SNARK.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord) -> Result<Facts, Halt> {
    let dir = at.dir.path();
    let (Some(request), SectorState::C1Done { c1, .. }) = (request::c2(record, dir), &record.state) else {
        return Err(Halt::back(BUSY_DELAY, format!("the record is {}", record.state.name())));
    };
    at.posted.phase("fetch the vanilla proofs", None);
    tools.artifacts.get(c1, &request::c1_output(dir)).await?;
    Ok(outcome::facts(tools.prover.run(at, &request).await?)?)
}
