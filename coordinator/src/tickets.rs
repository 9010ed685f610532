//! The seal ticket: drawn when PC1 is claimed, recorded before the child starts, the same one for every redelivery.

use std::sync::Arc;

use chain::{
    ChainApi, ChainError,
    policy::NetworkPolicy,
    randomness::{entropy, tag},
};
use streams::{
    id::{Epoch, SectorId},
    proof::Drawn,
    sector::{SectorRecord, SectorState},
};

use crate::{driver::Driver, registry::RegistryError, sector::Event};

/// A ticket that could not be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TicketError {
    #[error("sector {sector} is {state}: no ticket is due")]
    NotDue { sector: SectorId, state: &'static str },
    #[error("the ticket of sector {0} is too old for a pre-commit: it is sealed anew from tree-d")]
    TooOld(SectorId),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("draw the ticket")]
    Chain(#[from] ChainError),
}

/// Draws tickets.
#[derive(Clone)]
pub(crate) struct Tickets {
    pub(crate) driver: Driver,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) policy: NetworkPolicy,
}

/// How often a record that moved meanwhile is read again.
const LOOKS_MAX: u32 = 4;

impl Tickets {
    /// The ticket of the sector's generation: the recorded one, or a new one, recorded first.
    pub(crate) async fn ticket(&self, sector: SectorId) -> Result<Drawn, TicketError> {
        let mut state = "gone";
        for _ in 0..LOOKS_MAX {
            let record = self.driver.registry().get(sector).await?;
            state = record.state.name();
            match (record.state.of_files(), promised(&record.state)) {
                // The chain has the ticket of a sector that is sealed again, however old it is.
                (SectorState::Ticketed { ticket, .. }, Some(_)) => return Ok(*ticket),
                (SectorState::TreeDDone { .. }, Some(ticket)) => {
                    self.driver.tell(sector, Event::TicketDrawn { ticket }).await?;
                }
                (SectorState::Ticketed { ticket, .. }, None) => {
                    let head = self.chain.head().await?.height;
                    if is_too_old(&self.policy, ticket.epoch, head) {
                        self.driver.tell(sector, Event::TicketExpired { head }).await?;
                        return Err(TicketError::TooOld(sector));
                    }
                    return Ok(*ticket);
                }
                (SectorState::TreeDDone { .. }, None) => {
                    let ticket = self.draw(&record).await?;
                    host::failpoint!("coordinator.tickets.drawn");
                    self.driver.tell(sector, Event::TicketDrawn { ticket }).await?;
                    host::failpoint!("coordinator.tickets.recorded");
                }
                _ => break,
            }
        }
        Err(TicketError::NotDue { sector, state })
    }

    async fn draw(&self, record: &SectorRecord) -> Result<Drawn, ChainError> {
        let head = self.chain.head().await?;
        let epoch = self.policy.ticket_epoch(head.height);
        let entropy = entropy(record.id.miner);
        let value = self.chain.randomness_from_tickets(tag::SEAL_RANDOMNESS, epoch, &entropy, &head.key).await?;
        Ok(Drawn { epoch, value })
    }
}

/// Whether a pre-commit over this ticket may not land in time any more: a sixteenth of the allowed age is kept for the
/// message's way (236 epochs, about two hours, on mainnet).
pub(crate) fn is_too_old(policy: &NetworkPolicy, ticket: Epoch, head: Epoch) -> bool {
    let margin = policy.ticket_age_max / 16;
    head.saturating_sub(ticket) > policy.ticket_age_max.saturating_sub(margin)
}

/// The ticket that a replica is made again with.
fn promised(state: &SectorState) -> Option<Drawn> {
    match state {
        SectorState::Resealing { chain, .. } => chain.sealed().map(|sealed| sealed.ticket),
        _ => None,
    }
}

/// The ticket that a pre-commit of this sector would use, once there is one and as long as none is on its way.
pub(crate) const fn pending_ticket(state: &SectorState) -> Option<Drawn> {
    match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(*ticket),
        SectorState::Pc2Done { sealed } => Some(sealed.ticket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_given_up_before_the_actor_would_refuse_it() {
        let mainnet = NetworkPolicy::mainnet();
        assert!(!is_too_old(&mainnet, 10_000, 10_900));
        assert!(!is_too_old(&mainnet, 10_000, 13_544));
        assert!(is_too_old(&mainnet, 10_000, 13_545));
    }
}
