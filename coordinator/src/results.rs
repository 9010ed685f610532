//! Drains `RESULTS`: checks what agents claim, then tells the sector.
//!
//! A result is acknowledged once the record has it or has refused it. What cannot be judged now, because a store or
//! the verifier does not answer, is given back and comes again.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use streams::{
    id::{SectorId, StoreId, Timestamp},
    kv::{Bucket, BucketName},
    message::{BadText, Facts, Failure, FailureClass, Outcome, TaskResult, decode},
    nats::Nats,
    pull::{Delivery, Intake},
    records::Claim,
    stage::Stage,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    aside::Aside,
    driver::Driver,
    fence::{self, Standing},
    pieces::Unseals,
    registry::{Applied, RegistryError},
    sector::{Done, Event, Failed},
    stores::LostStores,
    verify::{self, Judge},
};

/// How long one pull waits for a result.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// When a result that cannot be judged now comes again.
const COMES_AGAIN_IN: Duration = Duration::from_secs(5);

/// How long a placement waits that came from a store that was given up.
const GIVEN_UP_PAUSE_MS: u64 = 10_000;

/// The intake of results.
pub(crate) struct Results {
    driver: Driver,
    intake: Intake,
    claims: Bucket<Claim>,
    judge: Judge,
    unseals: Arc<Unseals>,
    stores: LostStores,
    aside: Aside,
    /// Sectors whose results come back again and again: told once.
    told: Mutex<BTreeSet<SectorId>>,
}

/// A result that cannot be judged now.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("read its claim, or its store")]
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
        stores: LostStores,
        aside: Aside,
    ) -> Result<Self, streams::error::QueueError> {
        let intake = Intake::results(nats).await?;
        let claims = Bucket::open(nats, BucketName::Claims).await?;
        Ok(Self { driver, intake, claims, judge, unseals, stores, aside, told: Mutex::default() })
    }

    /// Takes results until told to stop.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        while !cancel.is_cancelled() {
            let delivery = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                next = self.intake.next(PULL_WAIT) => next,
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
                return self.set_aside(delivery, &error).await;
            }
        };
        let span = tracing::info_span!(
            "result",
            sector = %result.sector,
            stage = %result.stage,
            attempt = result.claim.attempt,
            agent = %result.agent,
        );
        let sector = result.sector;
        async {
            match self.settle(result).await {
                Ok(()) => {
                    host::failpoint!("coordinator.results.told");
                    say(delivery.ack().await);
                    host::failpoint!("coordinator.results.acked");
                }
                Err(NotNow::Registry(RegistryError::Unknown(sector))) => {
                    tracing::error!("a result for sector {sector}, which does not exist");
                    say(delivery.term("no such sector").await);
                }
                Err(error) => {
                    let words = host::exit::chain(&error);
                    if self.told().insert(sector) {
                        tracing::error!("a result cannot be judged now, and comes again: {words}");
                    } else {
                        tracing::debug!("a result cannot be judged now: {words}");
                    }
                    say(delivery.nak(Some(COMES_AGAIN_IN)).await);
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// What cannot be read now may be read by a person, or by a newer program: its bytes are kept before it goes.
    async fn set_aside(&self, delivery: &Delivery, error: &BadText) {
        let subject = delivery.subject();
        match self.aside.keep(delivery.sequence(), subject, delivery.payload()) {
            Ok(path) => {
                let words = host::exit::chain(error);
                tracing::error!(subject, kept = %path.display(), "a result cannot be read: {words}");
                host::failpoint!("coordinator.results.set_aside");
                say(delivery.term("cannot be read, and is kept in the coordinator's folder aside").await);
            }
            Err(error) => {
                tracing::error!(subject, "keep a result that cannot be read, it comes again: {error}");
                say(delivery.nak(Some(COMES_AGAIN_IN)).await);
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<SectorId>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn settle(&self, result: TaskResult) -> Result<(), NotNow> {
        if result.stage == Stage::Unseal {
            self.unseals.settle(&result);
            return Ok(());
        }
        let claim = self.claims.get(&claim_key(result.sector, result.stage)).await?;
        if fence::standing(claim.as_ref(), &result) == Standing::Superseded {
            tracing::info!("refused: the stage was claimed again since");
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
            Outcome::Done { facts: Facts::Place { store } } if self.stores.is_lost(*store).await? => {
                failed(result.stage, &result, given_up(*store, self.driver.registry().now()))
            }
            Outcome::Done { facts } => self.judge_facts(&result, facts.clone()).await?,
        };
        host::failpoint!("coordinator.results.judged");
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
}

/// Nothing is placed in a store that was given up, until a person says that it is back.
fn given_up(store: StoreId, now: Timestamp) -> Failure {
    Failure {
        class: FailureClass::WaitUntil(Timestamp(now.0.saturating_add(GIVEN_UP_PAUSE_MS))),
        code: "lost-store".to_owned(),
        message: format!("store {store} was given up as lost; is it back? then `coordinator store found {store}`"),
    }
}

fn claim_key(sector: SectorId, stage: Stage) -> String {
    format!("{}.{stage}", sector.key())
}

fn failed(stage: Stage, result: &TaskResult, failure: Failure) -> Event {
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
