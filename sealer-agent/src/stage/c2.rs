//! C2: needs no file of the sector but what C1 made, and so runs anywhere.

use streams::{
    message::{Facts, FailureClass},
    sector::{SectorRecord, SectorState},
    stage::Stage,
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
    // A prover that was begun before has them.
    if !at.has_begun(&request) {
        at.posted.phase("fetch the vanilla proofs");
        let fetched = tools.artifacts.get(c1, &request::c1_output(dir)).await;
        fetched.map_err(|error| Halt::unless_lost(error, FailureClass::RedoFrom(Stage::C1), "lost-c1-output"))?;
        host::failpoint!("agent.c2.input_fetched");
    }
    Ok(outcome::facts(tools.prover.run(at, &request).await?)?)
}
