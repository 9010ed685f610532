//! Answers what this agent is asked on `ctl.agent.<agent>.<verb>`: what its stores hold, which a lost queue is rebuilt
//! from, and what it is told about taking work.

use std::{path::Path, time::Duration};

use streams::{
    call::Call,
    control::AgentRequest as _,
    duty::DutyRequest,
    error::QueueError,
    id::{AgentId, Place},
    inventory::{Inventory, InventoryRequest},
    nats::Nats,
};
use tokio_util::sync::CancellationToken;

use crate::{
    duty::Keeper,
    store::{Stores, holdings},
};

const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Who answers.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) nats: Nats,
    pub(crate) agent: AgentId,
    pub(crate) place: Place,
    pub(crate) stores: Stores,
    pub(crate) keeper: Keeper,
}

impl Desk {
    /// Answers until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let ended = tokio::select! {
                ended = self.serve() => ended,
                () = stop.cancelled() => return Ok(()),
            };
            if let Err(error) = ended {
                tracing::warn!("answer questions: {:#}", anyhow::Error::from(error));
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn serve(&self) -> Result<(), QueueError> {
        let mut calls = self.nats.serve(&format!("ctl.agent.{}.*", self.agent)).await?;
        while let Some(call) = calls.next().await {
            if let Err(error) = self.answer(call).await {
                tracing::warn!("answer a question: {:#}", anyhow::Error::from(error));
            }
        }
        Ok(())
    }

    async fn answer(&self, call: Call) -> Result<(), QueueError> {
        if call.verb() == DutyRequest::VERB {
            return self.answer_duty(call).await;
        }
        if call.verb() != InventoryRequest::VERB {
            let message = format!("an agent does not answer \"{}\"", call.verb());
            return call.refuse(&message, None).await;
        }
        let request: InventoryRequest = match call.decode() {
            Ok(request) => request,
            Err(error) => return call.refuse(&format!("{:#}", anyhow::Error::from(error)), None).await,
        };
        let (stores, place) = (self.stores.readable(), self.place.clone());
        let page = tokio::task::spawn_blocking(move || holdings::page(&stores, &place, request.after));
        match tokio::time::timeout(self.stores.health.hang_after(), page).await {
            Err(_elapsed) => call.refuse("a store does not answer: it is set aside soon", None).await,
            Ok(Ok(holdings::Page { holdings, high_water, mut unreadable, next })) => {
                unreadable.extend(self.set_aside());
                let high_water = high_water.into_iter().collect();
                let agent = self.agent.clone();
                call.answer(&Inventory { agent, holdings, high_water, unreadable, next }).await
            }
            Ok(Err(error)) => call.refuse(&format!("read the stores: {error}"), None).await,
        }
    }

    async fn answer_duty(&self, call: Call) -> Result<(), QueueError> {
        let request: DutyRequest = match call.decode() {
            Ok(request) => request,
            Err(error) => return call.refuse(&format!("{:#}", anyhow::Error::from(error)), None).await,
        };
        match self.keeper.command(request).await {
            Ok(taken) => call.answer(&taken).await,
            Err((message, hint)) => call.refuse(&message, hint.as_deref()).await,
        }
    }

    /// Stores that cannot be read, with the reason: they may hold anything.
    fn set_aside(&self) -> impl Iterator<Item = (String, String)> {
        let condition = |(store, path): (_, &Path)| {
            let condition = self.stores.health.condition(store);
            (!condition.can_be_read()).then(|| (path.display().to_string(), condition.to_string()))
        };
        self.stores.paths().filter_map(condition)
    }
}
