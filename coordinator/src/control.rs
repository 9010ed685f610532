//! Answers requests on `ctl.coordinator.<verb>`, while this coordinator leads.

use std::{error::Error, sync::Arc};

use chain::ChainApi;
use host::tasks::Tasks;
use streams::{
    attach::{AttachLookRequest, AttachRequest},
    call::Call,
    control::{
        AbortRequest, CoordinatorRequest, CreateMinerRequest, Info, InfoRequest, RetryRequest, SectorNow,
        StoreFoundRequest, StoreLostRequest, StoreNoted, SubmitRequest, TicketRequest, UnsealRequest,
    },
    id::SectorId,
    nats::Nats,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    attach::Attaching, driver::Driver, head::Head, miner_create, miners::Miners, registry::Applied, sector::Event,
    stores::LostStores, submission::Submission, tickets::Tickets, unsealing::Unsealing,
};

/// Everything requests are answered from.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) driver: Driver,
    pub(crate) miners: Arc<Miners>,
    pub(crate) submission: Submission,
    pub(crate) attaching: Attaching,
    pub(crate) tickets: Tickets,
    pub(crate) unsealing: Unsealing,
    pub(crate) head: Head,
    pub(crate) network: String,
    pub(crate) base: String,
    pub(crate) stores: LostStores,
    /// Has the reconciler look now.
    pub(crate) reconcile: Arc<Notify>,
}

/// A refusal, in words for a person.
struct No {
    message: String,
    hint: Option<String>,
}

impl No {
    fn because(error: &(dyn Error + 'static)) -> Self {
        Self { message: host::exit::chain(error), hint: None }
    }

    fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl Control {
    /// Serves until told to stop. Each request is a task of its own, since creating a miner takes epochs.
    pub(crate) async fn run(self, nats: Nats, tasks: Tasks, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut calls = nats.serve("ctl.coordinator.*").await?;
        loop {
            let call = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                call = calls.next() => call,
            };
            let Some(call) = call else { anyhow::bail!("the connection to NATS is closed") };
            let control = self.clone();
            let verb = call.verb().to_owned();
            tasks.spawn_once(format!("answer {verb}"), async move {
                control.answer(&verb, call).await;
                Ok(())
            });
        }
        calls.close().await;
        Ok(())
    }

    async fn answer(&self, verb: &str, call: Call) {
        let sent = match verb {
            InfoRequest::VERB => reply(call, self.info()).await,
            TicketRequest::VERB => match call.decode::<TicketRequest>() {
                Ok(request) => reply(call, self.ticket(&request).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            SubmitRequest::VERB => match call.decode::<SubmitRequest>() {
                Ok(request) => reply(call, self.submit(request).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            CreateMinerRequest::VERB => match call.decode::<CreateMinerRequest>() {
                Ok(request) => reply(call, self.create_miner(&request).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            UnsealRequest::VERB => match call.decode::<UnsealRequest>() {
                Ok(request) => reply(call, self.unsealing.order(request).await.map_err(|e| No::because(&e))).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            RetryRequest::VERB => match call.decode::<RetryRequest>() {
                Ok(request) => reply(call, self.tell(request.sector, Event::Retry { from: request.from }).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            AbortRequest::VERB => match call.decode::<AbortRequest>() {
                Ok(request) => {
                    reply(call, self.tell(request.sector, Event::Abort { reason: request.reason }).await).await
                }
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            StoreLostRequest::VERB => match call.decode::<StoreLostRequest>() {
                Ok(request) => reply(call, self.store_lost(request).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            StoreFoundRequest::VERB => match call.decode::<StoreFoundRequest>() {
                Ok(request) => reply(call, self.store_found(&request).await).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            AttachLookRequest::VERB => match call.decode() {
                Ok(request) => reply(call, self.attaching.look(request).await.map_err(|e| No::because(&e))).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            AttachRequest::VERB => match call.decode() {
                Ok(request) => reply(call, self.attaching.attach(request).await.map_err(|e| No::because(&e))).await,
                Err(error) => refuse(call, &No::because(&error)).await,
            },
            other => {
                let no = No { message: format!("this coordinator has no command \"{other}\""), hint: None };
                refuse(call, &no.hint(Some("is the command line of a newer version?".to_owned()))).await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(verb, "answer a request: {}", host::exit::chain(&error));
        }
    }

    fn info(&self) -> Result<Info, No> {
        let miners = self.miners.all();
        Ok(Info {
            http: self.base.clone(),
            network: self.network.clone(),
            miners: miners.iter().map(|miner| miner.id).collect(),
            proofs: miners.iter().map(|miner| miner.proof).collect(),
            epoch: self.head.borrow().as_ref().map_or(0, |head| head.epoch),
        })
    }

    async fn ticket(&self, request: &TicketRequest) -> Result<streams::proof::Drawn, No> {
        let ticket = self.tickets.ticket(request.sector).await;
        ticket.map_err(|error| {
            tracing::warn!(sector = %request.sector, agent = %request.agent, "no ticket: {}", host::exit::chain(&error));
            No::because(&error)
        })
    }

    async fn submit(&self, request: SubmitRequest) -> Result<streams::control::Submitted, No> {
        self.submission.submit(request).await.map_err(|error| No::because(&error).hint(error.hint()))
    }

    async fn create_miner(&self, request: &CreateMinerRequest) -> Result<streams::control::MinerCreated, No> {
        let created = miner_create::create(request, &self.miners, &self.chain, self.head.clone()).await;
        created.map_err(|error| No::because(&error).hint(error.hint()))
    }

    /// Only noted here: the reconciler carries it through, in this coordinator or in the next.
    async fn store_lost(&self, request: StoreLostRequest) -> Result<StoreNoted, No> {
        let StoreLostRequest { store, because } = request;
        let now = self.driver.registry().now();
        let changed = self.stores.give_up(store, now, because.clone()).await.map_err(|e| No::because(&e))?;
        if changed {
            tracing::warn!(%store, "given up as lost by a person: {because}");
        }
        self.reconcile.notify_one();
        Ok(StoreNoted { changed })
    }

    async fn store_found(&self, request: &StoreFoundRequest) -> Result<StoreNoted, No> {
        let changed = self.stores.found(request.store).await.map_err(|e| No::because(&e))?;
        if changed {
            tracing::info!(store = %request.store, "found again: sectors may be placed in it");
        }
        Ok(StoreNoted { changed })
    }

    async fn tell(&self, sector: SectorId, event: Event) -> Result<SectorNow, No> {
        match self.driver.tell(sector, event).await {
            Ok(Applied::Moved(step)) => Ok(SectorNow { state: step.next.state.name().to_owned() }),
            Ok(Applied::Refused(refused)) => Err(No { message: format!("sector {sector}: {refused}"), hint: None }),
            Err(error) => Err(No::because(&error)),
        }
    }
}

async fn reply<A: serde::Serialize>(call: Call, answer: Result<A, No>) -> Result<(), streams::error::QueueError> {
    match answer {
        Ok(answer) => call.answer(&answer).await,
        Err(no) => refuse(call, &no).await,
    }
}

async fn refuse(call: Call, no: &No) -> Result<(), streams::error::QueueError> {
    call.refuse(&no.message, no.hint.as_deref()).await
}
