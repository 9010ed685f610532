//! New sectors for the pieces of those whose pre-commit expired, each made exactly once.
//!
//! The expired record says how far this has come: a number is recorded there before the new record is made, and that it
//! was made is recorded after. Whoever comes second, after a crash or at the same time, goes on with the same number.

use streams::{
    id::SectorId,
    kv::CasError,
    sector::{SectorRecord, SectorState, Succession},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    driver::Driver,
    numbers::{NumberError, Numbers},
    registry::RegistryError,
    sector::Event,
};

/// A successor that was not made now.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("give it a number")]
    Number(#[from] NumberError),
    #[error("sector {0} has other pieces: its number was given twice")]
    Taken(SectorId),
    #[error("create its record")]
    Create(#[from] CasError),
}

/// Makes successors.
pub(crate) struct Successions {
    pub(crate) driver: Driver,
    pub(crate) numbers: Numbers,
    pub(crate) wanted: mpsc::Receiver<SectorId>,
}

impl Successions {
    /// Until told to stop. What fails, the reconciler wants again.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let expired = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                expired = self.wanted.recv() => expired,
            };
            let Some(expired) = expired else {
                cancel.cancelled().await;
                return Ok(());
            };
            if let Err(error) = self.succeed(expired).await {
                tracing::warn!(sector = %expired, "seal its pieces anew, the reconciler will: {}", host::exit::chain(&error));
            }
        }
    }

    async fn succeed(&self, expired: SectorId) -> Result<(), NotMade> {
        let registry = self.driver.registry();
        let mut record = registry.get(expired).await?;
        if is_unnamed(&record) {
            let given = self.numbers.give(expired.miner, 1, registry.now()).await?;
            if let Some(by) = given.first().copied() {
                self.driver.tell(expired, Event::SuccessorNamed { by }).await?;
                host::failpoint!("coordinator.succession.named");
            }
            // Another coordinator may have been faster: the recorded number counts, and ours is never used.
            record = registry.get(expired).await?;
        }
        let SectorState::PreCommitExpired { successor: Succession::Named { by }, .. } = record.state else {
            return Ok(());
        };
        let mut new = SectorRecord::new(by, record.incarnation, record.proof, record.pieces, registry.now());
        new.what = format!("submitted in the place of {expired}, whose pre-commit expired");
        match registry.create(&new).await {
            Ok(()) => {
                tracing::info!(sector = %by, of = %expired, "submitted in the place of an expired sector");
                self.driver.begin(&new).await;
            }
            // Made before a crash, or by another coordinator; a number is given once, so it is ours.
            Err(CasError::Lost { .. }) if registry.get(by).await?.pieces == new.pieces => {}
            Err(CasError::Lost { .. }) => return Err(NotMade::Taken(by)),
            Err(error) => return Err(error.into()),
        }
        host::failpoint!("coordinator.succession.created");
        self.driver.tell(expired, Event::SuccessorBegun { by }).await?;
        Ok(())
    }
}

const fn is_unnamed(record: &SectorRecord) -> bool {
    matches!(record.state, SectorState::PreCommitExpired { successor: Succession::Wanted {}, .. })
}
