//! Requests to the coordinator that leads.

use std::time::Duration;

use host::exit::{CliError, Exit};
use streams::{
    call::AskError,
    control::{AbortRequest, CoordinatorRequest, RetryRequest},
    id::SectorId,
    nats::Nats,
    stage::Stage,
};

/// How long an ordinary request may take.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Asks, and turns a refusal into words with a hint.
pub(super) async fn ask<R: CoordinatorRequest>(
    nats: &Nats,
    request: &R,
    limit: Duration,
) -> Result<R::Answer, CliError> {
    nats.ask(request, limit).await.map_err(|error| {
        let hint = error.hint();
        let cli = match error {
            AskError::Refused { message, .. } => CliError::new(Exit::Refused, message),
            AskError::NobodyAnswers { .. } => CliError::new(Exit::Unavailable, "no coordinator answers").because(error),
            AskError::TimedOut { .. } | AskError::Queue(_) => {
                CliError::new(Exit::Unavailable, "ask the coordinator").because(error)
            }
        };
        match hint {
            Some(hint) => cli.hint(hint),
            None => cli,
        }
    })
}

pub(super) async fn retry(nats: &Nats, sector: SectorId, from: Option<Stage>) -> Result<(), CliError> {
    let now = ask(nats, &RetryRequest { sector, from }, ANSWERED_WITHIN).await?;
    eprintln!("sector {sector} goes on: {}", now.state);
    Ok(())
}

pub(super) async fn abort(nats: &Nats, sector: SectorId, reason: String) -> Result<(), CliError> {
    let now = ask(nats, &AbortRequest { sector, reason }, ANSWERED_WITHIN).await?;
    eprintln!("sector {sector} is {}", now.state);
    Ok(())
}
