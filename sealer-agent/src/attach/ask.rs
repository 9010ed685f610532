//! What the command asks of the coordinator, page by page.

use std::time::Duration;

use host::exit::{CliError, Exit};
use streams::{
    attach::{AttachLookRequest, AttachRequest, Outcome, ProvenFiles, SECTORS_MAX, Verdict},
    call::AskError,
    control::CoordinatorRequest,
    id::{Incarnation, Place, SectorId, StoreId},
    nats::{Nats, NatsConfig},
};

use tokio_util::sync::CancellationToken;

use crate::{config::Config, error};

/// A page takes some hundred questions to the chain node.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// Who asks.
pub(super) struct Desk {
    nats: Nats,
    stop: CancellationToken,
}

impl Desk {
    pub(super) async fn connect(config: &Config, stop: CancellationToken) -> Result<Self, CliError> {
        let nats = NatsConfig {
            url: config.nats.url.clone(),
            name: "sealer-agent store attach".to_owned(),
            connect_timeout: config.nats.connect_timeout,
        };
        Ok(Self { nats: Nats::connect(&nats).await.map_err(error::queue)?, stop })
    }

    /// A coordinator that dies over a question answers nobody: whoever waits can still leave.
    async fn ask<R: CoordinatorRequest>(&self, request: &R) -> Result<R::Answer, CliError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(super::interrupted()),
            answer = self.nats.ask(request, ANSWERED_WITHIN) => answer.map_err(refused),
        }
    }

    /// What is known of these sectors, and the life of the queue that they would belong to.
    pub(super) async fn look(
        &self,
        sectors: &[SectorId],
    ) -> Result<(Vec<(SectorId, Verdict)>, Option<Incarnation>), CliError> {
        let (mut verdicts, mut incarnation) = (Vec::new(), None);
        for page in sectors.chunks(SECTORS_MAX) {
            let request = AttachLookRequest { sectors: page.to_vec() };
            let answer = self.ask(&request).await?;
            incarnation = Some(answer.incarnation);
            verdicts.extend(answer.sectors.into_iter().map(|looked| (looked.sector, looked.verdict)));
        }
        Ok((verdicts, incarnation))
    }

    /// Has records made.
    pub(super) async fn attach(
        &self,
        store: StoreId,
        place: &Place,
        sectors: Vec<ProvenFiles>,
    ) -> Result<Vec<(SectorId, Outcome)>, CliError> {
        if sectors.is_empty() {
            return Ok(Vec::new());
        }
        let request = AttachRequest { store, place: place.clone(), sectors };
        let answer = self.ask(&request).await?;
        Ok(answer.sectors.into_iter().map(|one| (one.sector, one.outcome)).collect())
    }
}

fn refused(error: AskError) -> CliError {
    let hint = error.hint();
    let told = match error {
        AskError::Refused { message, .. } => CliError::new(Exit::Refused, message),
        AskError::NobodyAnswers { .. } => CliError::new(Exit::Unavailable, "no coordinator answers").because(error),
        AskError::TimedOut { .. } | AskError::Queue(_) => {
            CliError::new(Exit::Unavailable, "ask the coordinator").because(error)
        }
    };
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}
