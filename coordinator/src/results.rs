//! Drains `RESULTS`: checks what agents claim, then tells the sector.
//!
//! A result is acknowledged once the record has it or has refused it. What cannot be judged now, because a store or
//! the verifier does not answer, is given back and comes again.

use std::{sync::Arc, time::Duration};

use streams::{
    id::SectorId,
    kv::{Bucket, BucketName},
    message::{Facts, Outcome, TaskResult, decode},
    nats::Nats,
    pull::{Delivery, Intake},
    records::Claim,
    stage::Stage,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    driver::Driver,
    pieces::Unseals,
    registry::{Applied, RegistryError},
    sector::{Done, Event, Failed},
    verify::{self, Judge},
};

/// How long one pull waits for a result.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// When a result that cannot be judged now comes again.
const COMES_AGAIN_IN: Duration = Duration::from_secs(5);

/// The intake of results.
pub(crate) struct Results {
    driver: Driver,
    intake: Intake,
    claims: Bucket<Claim>,
    judge: Judge,
    unseals: Arc<Unseals>,
}

/// A result that cannot be judged now.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("read its claim")]
    Claim(#[from] streams::error::QueueError),
    #[error(transparent)]
    Verifier(#[from] verify::CannotVerify),
}

impl Results {
    pub(crate) async fn open(
        nats: &Nats,
        driver: Driver,
        judge: Judge,
        unseals: Arc<Unseals>,
    ) -> Result<Self, streams::error::QueueError> {
        let intake = Intake::results(nats).await?;
        let claims = Bucket::open(nats, BucketName::Claims).await?;
        Ok(Self { driver, intake, claims, judge, unseals })
    }

    /// Takes results until told to stop.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        while !cancel.is_cancelled() {
            let delivery = tokio::select! {
                next = self.intake.next(PULL_WAIT) => next,
                () = cancel.cancelled() => return Ok(()),
            };
            match delivery {
                Ok(Some(delivery)) => self.take(&delivery).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("pull results: {}", host::exit::chain(&error));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        Ok(())
    }

    async fn take(&self, delivery: &Delivery) {
        let result: TaskResult = match decode(delivery.payload()) {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(subject = delivery.subject(), "a result cannot be read: {}", host::exit::chain(&error));
                say(delivery.term("malformed result").await);
                return;
            }
        };
        let span = tracing::info_span!(
            "result",
            sector = %result.sector,
            stage = %result.stage,
            attempt = result.claim.attempt,
            agent = %result.agent,
        );
        async {
            match self.settle(result).await {
                Ok(()) => say(delivery.ack().await),
                Err(NotNow::Registry(RegistryError::Unknown(sector))) => {
                    tracing::error!("a result for sector {sector}, which does not exist");
                    say(delivery.term("no such sector").await);
                }
                Err(error) => {
                    tracing::error!("a result cannot be judged now: {}", host::exit::chain(&error));
                    say(delivery.nak(Some(COMES_AGAIN_IN)).await);
                }
            }
        }
        .instrument(span)
        .await;
    }

    async fn settle(&self, result: TaskResult) -> Result<(), NotNow> {
        if result.stage == Stage::Unseal {
            self.unseals.settle(&result);
            return Ok(());
        }
        if self.is_stale(&result).await? {
            tracing::info!("refused: a later attempt holds the claim");
            return Ok(());
        }
        let sector = result.sector;
        let event = match &result.outcome {
            Outcome::Failed { failure } => failed(result.stage, &result, failure.clone()),
            Outcome::Done { facts } if facts.stage() != result.stage => {
                let failure =
                    verify::untrue(format!("the result of {} holds facts of {}", result.stage, facts.stage()));
                failed(result.stage, &result, failure)
            }
            Outcome::Done { facts } => self.judge_facts(&result, facts.clone()).await?,
        };
        if let Applied::Refused(refused) = self.driver.tell(sector, event).await? {
            tracing::info!("refused: {refused}");
        }
        Ok(())
    }

    async fn judge_facts(&self, result: &TaskResult, facts: Facts) -> Result<Event, NotNow> {
        let record = self.driver.registry().get(result.sector).await?;
        Ok(match self.judge.facts(&record, &facts).await? {
            Ok(()) => Event::Done(Box::new(Done {
                facts,
                agent: result.agent.clone(),
                place: result.place.clone(),
                claim: result.claim,
                started_at: result.started_at,
                ended_at: result.ended_at,
                verified_over: verify::statement(&record).map(|statement| statement.seed),
            })),
            Err(failure) => {
                tracing::warn!("{}", failure.message);
                failed(result.stage, result, failure)
            }
        })
    }

    /// Work in place counts only from the latest claim. The claim's key may be gone or let go: then nobody is later.
    async fn is_stale(&self, result: &TaskResult) -> Result<bool, NotNow> {
        if !result.stage.writes_in_place() {
            return Ok(false);
        }
        let claim = self.claims.get(&claim_key(result.sector, result.stage)).await?;
        Ok(claim.is_some_and(|held| {
            held.value.attempt > result.claim.attempt && held.value.generation >= result.claim.generation
        }))
    }
}

fn claim_key(sector: SectorId, stage: Stage) -> String {
    format!("{}.{stage}", sector.key())
}

fn failed(stage: Stage, result: &TaskResult, failure: streams::message::Failure) -> Event {
    Event::Failed(Box::new(Failed {
        stage,
        agent: result.agent.clone(),
        place: result.place.clone(),
        claim: result.claim,
        at: result.ended_at,
        failure,
    }))
}

fn say(answer: Result<(), streams::error::QueueError>) {
    if let Err(error) = answer {
        tracing::warn!("answer a delivery: {}", host::exit::chain(&error));
    }
}
