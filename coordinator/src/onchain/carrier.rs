//! Puts sectors into a message.
//!
//! The order keeps a sector from ever being in two: each is checked alone, the whole is simulated by the node, each joins
//! the message's name by compare-and-set of its own record, and only then is anything signed.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use chain::{
    ChainApi,
    address::of_miner,
    message::BadMessage,
    params::{BadParams, PreCommitSector, ProveCommitSector, method, no_value, pre_commit, prove_commit},
    policy::NetworkPolicy,
    sender::{Outgoing, SendError, Sender},
};
use fvm_shared::econ::TokenAmount;
use host::failpoint;
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

/// Exit codes that pass: `SysErrInsufficientFunds` and `USR_INSUFFICIENT_FUNDS` (money may come), and `USR_FORBIDDEN`
/// (the epoch is too early, the miner is in a consensus fault, or the key is not one of its control addresses yet).
const TIME_HELPS: [u32; 3] = [6, 19, 18];

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
    /// Refused once. A node that is behind refuses what the chain would take: nobody is parked by one answer.
    pub(crate) refused_once: Mutex<BTreeSet<(Kind, SectorId)>>,
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
        failpoint!("coordinator.onchain.prepared");
        let mut batches = vec![ready];
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let Err(error) = self.send(kind, &miner, &batch).await else {
                let sent = |sector| batch.iter().any(|passenger| passenger.sector == sector);
                self.refusals(|refused| refused.retain(|(of, sector)| *of != kind || !sent(*sector)));
                continue;
            };
            match Failed::from(&error) {
                // One bad sector fails the whole message: halves find it.
                Failed::Contents | Failed::ContentsForNow if batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Failed::Contents => again.extend(self.reject(kind, &batch, &error).await),
                Failed::ContentsForNow | Failed::Way => {
                    let first = batch.first().map(|passenger| tracing::field::display(passenger.sector));
                    let words = host::exit::chain(&error);
                    tracing::warn!(miner = %miner.id, first, sectors = batch.len(), "{} not sent: {words}", name(kind));
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
        let joined = Mutex::default();
        let sent = sender.send(outgoing, |message| self.join(kind, batch, message, &joined)).await;
        match sent {
            Ok(message) => {
                failpoint!("coordinator.onchain.sent");
                tracing::info!(miner = %miner.id, nonce = message.nonce, sectors = batch.len(), "{} sent", name(kind));
                Ok(())
            }
            Err(error) => {
                // The journal may hold a message of this name that carries them: the reconciler looks.
                let in_doubt = matches!(error, SendError::Queue { .. } | SendError::NonceTaken { .. });
                if !in_doubt {
                    let joined = joined.into_inner().unwrap_or_else(PoisonError::into_inner);
                    self.leave(&joined).await;
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
        joined: &Mutex<Vec<(SectorId, MessageRef)>>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for passenger in batch {
            let event = match kind {
                Kind::PreCommit => Event::JoinedPreCommit { message: message.clone() },
                Kind::ProveCommit => Event::JoinedProveCommit { message: message.clone() },
            };
            if let Applied::Refused(refused) = self.driver.tell(passenger.sector, event).await? {
                return Err(format!("sector {}: {refused}", passenger.sector).into());
            }
            let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
            joined.push((passenger.sector, message.clone()));
            drop(joined);
            failpoint!("coordinator.onchain.joined");
        }
        // Last, because nothing between here and the signature waits.
        if self.lease.is_held() { Ok(()) } else { Err("another coordinator leads now".into()) }
    }

    /// Only sectors that joined here leave: another coordinator that believes it leads may have a message of the same
    /// name, and what joined that one is carried by it.
    async fn leave(&self, joined: &[(SectorId, MessageRef)]) {
        for (sector, message) in joined {
            let event = Event::NeverSent { message: message.clone() };
            if let Err(error) = self.driver.tell(*sector, event).await {
                tracing::warn!(%sector, "leave a message that was not sent: {error}");
            }
            failpoint!("coordinator.onchain.left");
        }
    }

    fn refusals<R>(&self, look: impl FnOnce(&mut BTreeSet<(Kind, SectorId)>) -> R) -> R {
        look(&mut self.refused_once.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Parks sectors that no message can carry, at the second refusal; returns those that are to be offered again.
    async fn reject(&self, kind: Kind, batch: &[Passenger], error: &SendError) -> Vec<SectorId> {
        let words = host::exit::chain(error);
        let mut again = Vec::new();
        for passenger in batch {
            let sector = passenger.sector;
            if self.refusals(|refused| refused.insert((kind, sector))) {
                tracing::warn!(%sector, "{} would fail, asked once more before it is parked: {words}", name(kind));
                again.push(sector);
                continue;
            }
            self.refusals(|refused| refused.remove(&(kind, sector)));
            let code = match kind {
                Kind::PreCommit => Code::PreCommitRefused,
                Kind::ProveCommit => Code::ProveCommitRefused,
            };
            if let Err(error) = self.driver.tell(sector, Event::Rejected { code, text: words.clone() }).await {
                tracing::warn!(%sector, "park a sector that the chain refuses: {error}");
                again.push(sector);
            }
            failpoint!("coordinator.onchain.rejected");
        }
        again
    }
}

/// Why a message was not sent, as far as its sectors are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// The chain would refuse what is in it, for good.
    Contents,
    /// The chain would refuse what is in it now.
    ContentsForNow,
    /// Nothing is said of what is in it.
    Way,
}

impl From<&SendError> for Failed {
    fn from(error: &SendError) -> Self {
        match (error, error.exit_code()) {
            (SendError::Message(BadMessage::TooLarge { .. }), _) => Self::Contents,
            (_, Some(code)) if TIME_HELPS.contains(&code) => Self::ContentsForNow,
            (_, Some(_)) => Self::Contents,
            (_, None) => Self::Way,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_large_is_halved_like_one_that_fails() {
        let too_large = SendError::Message(BadMessage::TooLarge { bytes: 70_000 });
        assert_eq!(Failed::from(&too_large), Failed::Contents);
        let taken = SendError::NonceTaken { sender: "f3".to_owned(), nonce: 1 };
        assert_eq!(Failed::from(&taken), Failed::Way);
    }
}
