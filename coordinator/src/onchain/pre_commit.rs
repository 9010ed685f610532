//! A sector's part of a `PreCommitSectorBatch2`.

use chain::params::PreCommitSector;
use streams::{
    id::{Epoch, SectorId},
    sector::SectorState,
};

use super::carrier::{Cargo, Carrier, NotReady, Passenger};
use crate::{sector::Event, tickets::is_too_old};

/// Epochs a message may take to land, as far as a sector's shortest life is concerned.
const LANDS_WITHIN: Epoch = 120;

impl Carrier {
    /// Checks that the ticket will still be valid and asks for the deposit.
    pub(super) async fn prepare_pre_commit(&self, sector: SectorId) -> Result<Passenger, NotReady> {
        let record = self.driver.registry().get(sector).await.map_err(|e| NotReady::Later(e.to_string()))?;
        let SectorState::Pc2Done { sealed } = &record.state else { return Err(NotReady::Elsewhere) };
        let later = |e: chain::ChainError| NotReady::Later(e.to_string());
        let head = self.chain.head().await.map_err(later)?;
        if is_too_old(&self.policy, sealed.ticket.epoch, head.height) {
            let event = Event::TicketExpired { head: head.height };
            self.driver.tell(sector, event).await.map_err(|e| NotReady::Later(e.to_string()))?;
            return Err(NotReady::Elsewhere);
        }
        let cargo = PreCommitSector {
            number: sector.number,
            proof: record.proof,
            comm_r: sealed.comm_r,
            comm_d: (!record.pieces.is_empty()).then_some(sealed.comm_d),
            ticket_epoch: sealed.ticket.epoch,
            expiration: self.expiration(head.height),
        };
        let info = cargo.info().map_err(|e| NotReady::Later(e.to_string()))?;
        let value = self.chain.pre_commit_deposit(sector.miner, &info, &head.key).await.map_err(later)?;
        Ok(Passenger { sector, value, cargo: Cargo::PreCommit(cargo) })
    }

    /// The promised life, counted from the latest possible activation, within what the actor allows.
    pub(super) fn expiration(&self, head: Epoch) -> Epoch {
        let (earliest, latest) = self.policy.expiration_range(head);
        let wanted = head.saturating_add(self.policy.prove_commit_duration_max).saturating_add(self.life);
        wanted.max(earliest.saturating_add(LANDS_WITHIN)).min(latest)
    }
}
