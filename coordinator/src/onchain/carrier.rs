//! Puts sectors into a message.
//!
//! The order keeps a sector from ever being in two: each is checked alone, the whole is simulated by the node, each joins
//! the message's name by compare-and-set of its own record, and only then is anything signed.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
};

use chain::{
    ChainApi,
    address::of_miner,
    params::{BadParams, PreCommitSector, ProveCommitSector, method, no_value, pre_commit, prove_commit},
    policy::NetworkPolicy,
    sender::{Outgoing, SendError, Sender},
};
use fvm_shared::econ::TokenAmount;
use streams::{
    id::{Epoch, MinerId, SectorId},
    lease::Lease,
    sector::MessageRef,
};

use crate::{
    driver::{Driver, Kind},
    miners::{Miner, Miners},
    registry::Applied,
    sector::{Event, PRE_COMMIT, PROVE_COMMIT, park::Code},
};

/// `SysErrInsufficientFunds` and `USR_INSUFFICIENT_FUNDS`: money may come.
const NO_FUNDS: [u32; 2] = [6, 19];
/// `USR_FORBIDDEN`: the epoch is too early, or the miner is in a consensus fault. Time helps.
const FORBIDDEN: u32 = 18;

/// What a sector brings into a message.
pub(super) enum Cargo {
    PreCommit(PreCommitSector),
    ProveCommit(ProveCommitSector),
}

/// A sector that is ready to be sent.
pub(super) struct Passenger {
    pub(super) sector: SectorId,
    /// attoFIL that has to travel with it.
    pub(super) value: TokenAmount,
    pub(super) cargo: Cargo,
}

/// A sector that cannot be sent.
pub(super) enum NotReady {
    /// It is not in the state for it, or was just moved: nothing to do.
    Elsewhere,
    /// Later, for this reason.
    Later(String),
}

/// Sends batches.
pub(crate) struct Carrier {
    pub(crate) driver: Driver,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) miners: Arc<Miners>,
    pub(crate) policy: NetworkPolicy,
    /// How long a sector is promised for.
    pub(crate) life: Epoch,
    pub(crate) lease: Arc<Lease>,
}

impl Carrier {
    /// Sends these sectors in as few messages as the chain accepts; returns those to be offered again.
    pub(super) async fn carry(&self, kind: Kind, miner: MinerId, sectors: &[SectorId]) -> Vec<SectorId> {
        let Some(miner) = self.miners.get(miner) else {
            tracing::error!(%miner, "sectors wait for a message of a miner that is not configured any more");
            return Vec::new();
        };
        let mut again = Vec::new();
        let mut ready = Vec::new();
        for sector in sectors {
            let prepared = match kind {
                Kind::PreCommit => self.prepare_pre_commit(*sector).await,
                Kind::ProveCommit => self.prepare_prove_commit(*sector).await,
            };
            match prepared {
                Ok(passenger) => ready.push(passenger),
                Err(NotReady::Elsewhere) => {}
                Err(NotReady::Later(why)) => {
                    tracing::warn!(%sector, "not sent now: {why}");
                    again.push(*sector);
                }
            }
        }
        let mut batches = vec![ready];
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let Err(error) = self.send(kind, &miner, &batch).await else { continue };
            match error.exit_code() {
                // One bad sector fails the whole message: halves find it.
                Some(_) if batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Some(code) => again.extend(self.refused(kind, &batch, code, &error).await),
                None => {
                    tracing::warn!(miner = %miner.id, "{} not sent: {}", name(kind), host::exit::chain(&error));
                    again.extend(batch.iter().map(|p| p.sector));
                }
            }
        }
        again
    }

    async fn send(&self, kind: Kind, miner: &Miner, batch: &[Passenger]) -> Result<(), SendError> {
        let sender = match kind {
            Kind::PreCommit => &miner.pre_commit,
            Kind::ProveCommit => &miner.prove_commit,
        };
        let outgoing = outgoing(kind, miner.id, batch).map_err(|e| not_joined(sender, Box::new(e)))?;
        let joined = OnceLock::new();
        let sent = sender
            .send(outgoing, |message| {
                let _first = joined.set(message.clone());
                self.join(kind, batch, message)
            })
            .await;
        match sent {
            Ok(message) => {
                tracing::info!(miner = %miner.id, nonce = message.nonce, sectors = batch.len(), "{} sent", name(kind));
                Ok(())
            }
            Err(error) => {
                // After a queue error the journal may hold the message: the reconciler looks.
                if let Some(message) = joined.get().filter(|_| !matches!(error, SendError::Queue { .. })) {
                    self.leave(batch, message).await;
                }
                Err(error)
            }
        }
    }

    async fn join(
        &self,
        kind: Kind,
        batch: &[Passenger],
        message: MessageRef,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for passenger in batch {
            let message = message.clone();
            let event = match kind {
                Kind::PreCommit => Event::JoinedPreCommit { message },
                Kind::ProveCommit => Event::JoinedProveCommit { message },
            };
            if let Applied::Refused(refused) = self.driver.tell(passenger.sector, event).await? {
                return Err(format!("sector {}: {refused}", passenger.sector).into());
            }
        }
        // Last, because nothing between here and the signature waits.
        if self.lease.is_held() { Ok(()) } else { Err("another coordinator leads now".into()) }
    }

    async fn leave(&self, batch: &[Passenger], message: &MessageRef) {
        for passenger in batch {
            let event = Event::NeverSent { message: message.clone() };
            if let Err(error) = self.driver.tell(passenger.sector, event).await {
                tracing::warn!(sector = %passenger.sector, "leave a message that was not sent: {error}");
            }
        }
    }

    /// The chain would refuse this one sector.
    async fn refused(&self, kind: Kind, batch: &[Passenger], exit_code: u32, error: &SendError) -> Vec<SectorId> {
        let words = host::exit::chain(error);
        let time_helps = NO_FUNDS.contains(&exit_code) || (kind == Kind::ProveCommit && exit_code == FORBIDDEN);
        let mut again = Vec::new();
        for passenger in batch {
            let sector = passenger.sector;
            if time_helps {
                tracing::warn!(%sector, exit_code, "{} would fail now: {words}", name(kind));
                again.push(sector);
                continue;
            }
            let code = match kind {
                Kind::PreCommit => Code::PreCommitRefused,
                Kind::ProveCommit => Code::ProveCommitRefused,
            };
            if let Err(error) = self.driver.tell(sector, Event::Rejected { code, text: words.clone() }).await {
                tracing::warn!(%sector, "park a sector that the chain refuses: {error}");
                again.push(sector);
            }
        }
        again
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::PreCommit => PRE_COMMIT,
        Kind::ProveCommit => PROVE_COMMIT,
    }
}

fn outgoing(kind: Kind, miner: MinerId, batch: &[Passenger]) -> Result<Outgoing, BadParams> {
    let mut pre_commits = Vec::new();
    let mut prove_commits = Vec::new();
    let mut value = no_value();
    for passenger in batch {
        value += &passenger.value;
        match &passenger.cargo {
            Cargo::PreCommit(sector) => pre_commits.push(sector.clone()),
            Cargo::ProveCommit(sector) => prove_commits.push(sector.clone()),
        }
    }
    let (method, params) = match kind {
        Kind::PreCommit => (method::PRE_COMMIT_SECTOR_BATCH2, pre_commit(&pre_commits)?),
        Kind::ProveCommit => (method::PROVE_COMMIT_SECTORS3, prove_commit(&prove_commits)?),
    };
    Ok(Outgoing {
        to: of_miner(miner),
        method,
        method_name: name(kind),
        value,
        params,
        miner,
        sectors: batch.iter().map(|passenger| passenger.sector.number).collect(),
    })
}

fn not_joined(sender: &Sender, source: Box<dyn Error + Send + Sync>) -> SendError {
    SendError::Join { sender: sender.sender().to_owned(), nonce: 0, source }
}
