//! Taking work: a slot first, then one message for it.
//!
//! A request is opened only while what such work takes is free ([`Seats`]); work that comes when it is not any more is
//! surplus.
//!
//! Each slot is a loop of its own that never has more than one task. A slot of a class with both kinds of work asks for
//! the bound kind and for placements at once, prefers the bound, and gives a surplus answer back the moment it comes.
//! An open request is never dropped while the agent runs: its answer would be lost with it until `ack_wait` is over.
//! What a slot may ask for at all is the [gate](crate::gate)'s to say; what comes and may not begin any more goes back.

use std::{future::Future, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures::FutureExt as _;
use host::retry::Backoff;
use streams::{
    error::QueueError,
    pull::{Delivery, Puller},
    stage::{Class, Stage},
};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::Slot,
    machine::{activity::Activity, seats::Seats},
    parting,
};

/// How long one request for work stays open at the server.
const PULL_WAIT: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

type Answer = Result<Option<Delivery>, QueueError>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The consumers a class is served from, the preferred first.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) class: Class,
    pub(crate) pullers: Vec<Consumer>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) puller: Puller,
    /// Whether its work is bound to this place.
    pub(crate) bound: bool,
}

/// What decides whether a slot may ask for work.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// What a person said about this agent.
    pub(crate) slot: Slot,
    /// What of the machine is free.
    pub(crate) seats: Seats,
}

/// Brings one task from its delivery to its acknowledgement.
pub(crate) trait Run: Send + Sync {
    /// A job of an earlier run.
    type Left: Send;

    /// Does one task of `class`, whatever comes of it.
    fn run(&self, class: Class, delivery: Delivery, ack_wait: Duration) -> impl Future<Output = ()> + Send;

    /// Goes on with a job of an earlier run.
    fn go_on(&self, left: Self::Left) -> impl Future<Output = ()> + Send;
}

/// Serves one slot until told to stop; a job of an earlier run that takes it comes first. What is at hand then has
/// `patience` to come to its end.
pub(crate) async fn serve<R: Run>(
    sources: Sources,
    door: Door,
    runner: Arc<R>,
    first_job: Option<R::Left>,
    stop: CancellationToken,
    patience: Duration,
) -> anyhow::Result<()> {
    if let Some(job) = first_job {
        to_its_end(runner.go_on(job), &stop, patience).await;
    }
    let mut requests = requests(sources.class, sources.pullers);
    let (mut duties, mut turns) = (door.slot.turns(), door.seats.turns());
    let mut failures = 0;
    while !stop.is_cancelled() {
        duties.mark_unchanged();
        turns.mark_unchanged();
        let opens_in = requests.iter().filter_map(|request| door.seats.opens_in(&request.activities)).min();
        let answer = tokio::select! {
            // In one order, so that one seed of the simulator is one run.
            biased;
            answer = first(&mut requests, &door) => answer,
            () = stop.cancelled() => break,
            // What may be asked for is another question now. Without an answer that is dropped: requests stay open.
            _ = duties.changed() => continue,
            _ = turns.changed() => continue,
            () = wait(opens_in) => continue,
        };
        match answer {
            Ok(Came { delivery, bound, .. }) if !door.slot.may_ask(bound) => nak(delivery).await,
            Ok(Came { delivery, ack_wait, .. }) => {
                failures = 0;
                let work = runner.run(sources.class, delivery, ack_wait);
                tokio::select! {
                    biased;
                    () = to_its_end(work, &stop, patience) => {}
                    never = give_back(&mut requests) => match never {},
                }
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(class = %sources.class, "take a task: {:#}", anyhow::Error::from(error));
                }
                let delay = Backoff::new(RETRY_FIRST, RETRY_MAX).delay_after(failures).unwrap_or(RETRY_MAX);
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    Ok(())
}

/// For ever where nothing ends by itself.
async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Work to its end; once the agent is told to stop, for so long at most. Its directory stays, for whoever takes it over.
async fn to_its_end(work: impl Future<Output = ()>, stop: &CancellationToken, patience: Duration) {
    tokio::select! {
        biased;
        () = work => {}
        () = parting::after(stop, patience) => tracing::warn!("left as it is: whoever takes the job over goes on"),
    }
}

/// A message that came.
struct Came {
    delivery: Delivery,
    ack_wait: Duration,
    bound: bool,
}

/// A standing request for one message of one consumer.
struct Request {
    puller: Puller,
    bound: bool,
    /// What comes from it.
    activities: Vec<Activity>,
    asking: Option<Asking>,
}

/// A class with both kinds of work has labelling at its place and placements anywhere; any other has all of its work in
/// each consumer.
fn requests(class: Class, consumers: Vec<Consumer>) -> Vec<Request> {
    let activities = |bound: bool| match (class, bound) {
        (Class::Pc1Cpu, true) => vec![Activity::Stage(Stage::Pc1)],
        (Class::Pc1Cpu, false) => vec![Activity::Stage(Stage::Place)],
        _ => Activity::all().filter(|activity| activity.class() == class).collect(),
    };
    let request = |Consumer { puller, bound }| Request { puller, bound, activities: activities(bound), asking: None };
    consumers.into_iter().map(request).collect()
}

impl Request {
    /// The open request. None is opened while a person forbids what it may bring, or there is no seat for it.
    fn asking(&mut self, door: &Door) -> Option<&mut Asking> {
        if self.asking.is_none() && door.slot.may_ask(self.bound) && door.seats.may_ask(&self.activities) {
            let puller = self.puller.clone();
            self.asking = Some(async move { puller.next(PULL_WAIT).await }.boxed());
        }
        self.asking.as_mut()
    }
}

/// The first message that comes, by preference when several are there. A request that is open is never dropped; a new
/// one is made only for what this slot may ask for.
async fn first(requests: &mut [Request], door: &Door) -> Result<Came, QueueError> {
    std::future::poll_fn(|context| {
        for request in requests.iter_mut() {
            while let Some(asking) = request.asking(door)
                && let Poll::Ready(answer) = asking.as_mut().poll(context)
            {
                request.asking = None;
                match answer {
                    Ok(Some(delivery)) => {
                        let (ack_wait, bound) = (request.puller.ack_wait(), request.bound);
                        return Poll::Ready(Ok(Came { delivery, ack_wait, bound }));
                    }
                    // Nothing within the wait: ask again.
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// Gives back what the open requests still bring while the slot is busy. Asks for nothing new.
async fn give_back(requests: &mut [Request]) -> std::convert::Infallible {
    let mut open: Vec<&mut Option<Asking>> =
        requests.iter_mut().map(|r| &mut r.asking).filter(|a| a.is_some()).collect();
    while !open.is_empty() {
        let answers = open.iter_mut().filter_map(|asking| asking.as_mut());
        let (answer, which, _) = futures::future::select_all(answers).await;
        if which < open.len() {
            *open.swap_remove(which) = None;
        }
        if let Ok(Some(delivery)) = answer {
            nak(delivery).await;
        }
    }
    std::future::pending().await
}

async fn nak(delivery: Delivery) {
    tracing::debug!(subject = delivery.subject(), "surplus: back to the queue");
    if let Err(error) = delivery.nak(None).await {
        tracing::warn!(subject = delivery.subject(), "give a surplus task back: {:#}", anyhow::Error::from(error));
    }
}
