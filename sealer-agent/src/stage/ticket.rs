//! The ticket of PC1: asked for when PC1 is claimed, before the child starts, so that tickets do not age in the queue.

use std::time::Duration;

use streams::{
    call::AskError,
    control::TicketRequest,
    sector::{SectorRecord, SectorState},
};

use super::Tools;
use crate::halt::{BUSY_DELAY, Halt};

const ASK_MAX: Duration = Duration::from_secs(30);
/// Until a coordinator may have taken the lead.
const NOBODY_DELAY: Duration = Duration::from_secs(5);

/// The record with its ticket. The coordinator writes the ticket down before it answers, so the record, read again,
/// and not the answer, is what PC1 goes by.
pub(crate) async fn ticketed(tools: &Tools, record: &SectorRecord) -> Result<SectorRecord, Halt> {
    let request = TicketRequest { sector: record.id, agent: tools.agent.clone() };
    let drawn = tools.nats.ask(&request, ASK_MAX).await.map_err(|error| match error {
        AskError::Queue(error) => error.into(),
        other => Halt::back(NOBODY_DELAY, format!("ask for a ticket: {:#}", anyhow::Error::from(other))),
    })?;
    let again = tools.sectors.get(&record.id.key()).await?.map(|entry| entry.value);
    match again {
        Some(record) if matches!(record.state.of_files(), SectorState::Ticketed { ticket, .. } if *ticket == drawn) => {
            Ok(record)
        }
        Some(record) => Err(Halt::back(
            BUSY_DELAY,
            format!("the ticket was answered, and the record is {} without it", record.state.name()),
        )),
        None => Err(Halt::back(BUSY_DELAY, "the sector's record is gone")),
    }
}
