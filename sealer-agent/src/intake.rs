//! Taking work: a slot first, then one message for it.
//!
//! A request is opened only while what such work takes is free ([`Seats`]); work that comes when it is not any more is
//! surplus.
//!
//! Each slot is a loop of its own that never has more than one task. A slot of a class with both kinds of work asks for
//! the bound kind and for placements at once, prefers the bound, and gives a surplus answer back the moment it comes.
//! An open request is never dropped while the agent runs: its answer would be lost with it until `ack_wait` is over.

use std::{future::Future, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures::FutureExt as _;
use host::retry::Backoff;
use streams::{
    error::QueueError,
    pull::{Delivery, Puller},
    stage::Class,
};
use tokio_util::sync::CancellationToken;

use crate::machine::{activity::Activity, seats::Seats};

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
    pub(crate) pullers: Vec<Puller>,
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

/// Serves one slot until told to stop; a job of an earlier run that takes it comes first.
pub(crate) async fn serve<R: Run>(
    sources: Sources,
    runner: Arc<R>,
    first_job: Option<R::Left>,
    seats: Seats,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if let Some(job) = first_job {
        runner.go_on(job).await;
    }
    let mut requests = requests(sources.class, sources.pullers);
    let (mut failures, mut turns) = (0, seats.turns());
    while !stop.is_cancelled() {
        turns.mark_unchanged();
        let opens_in = requests.iter().filter_map(|request| seats.opens_in(&request.activities)).min();
        let answer = tokio::select! {
            // In one order, so that one seed of the simulator is one run.
            biased;
            answer = first(&mut requests, &seats) => answer,
            () = stop.cancelled() => break,
            _ = turns.changed() => continue,
            () = wait(opens_in) => continue,
        };
        match answer {
            Ok((delivery, ack_wait)) => {
                failures = 0;
                let work = runner.run(sources.class, delivery, ack_wait);
                tokio::pin!(work);
                tokio::select! {
                    biased;
                    () = &mut work => {}
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

/// A standing request for one message of one consumer.
struct Request {
    puller: Puller,
    /// What comes from it.
    activities: Vec<Activity>,
    asking: Option<Asking>,
}

/// A class with both kinds of work has labelling at its place and placements anywhere; any other has all of its work in
/// each consumer.
fn requests(class: Class, pullers: Vec<Puller>) -> Vec<Request> {
    let all = || Activity::ALL.into_iter().filter(|activity| activity.class() == class).collect::<Vec<_>>();
    let is_split = class == Class::Pc1Cpu && pullers.len() == 2;
    let activities = |index: usize| match (is_split, index) {
        (true, 0) => vec![Activity::Pc1],
        (true, _) => vec![Activity::Place],
        (false, _) => all(),
    };
    let request = |(index, puller)| Request { puller, activities: activities(index), asking: None };
    pullers.into_iter().enumerate().map(request).collect()
}

impl Request {
    /// The open request. None is opened while there is no seat for what it may bring.
    fn asking(&mut self, seats: &Seats) -> Option<&mut Asking> {
        if self.asking.is_none() && seats.may_ask(&self.activities) {
            let puller = self.puller.clone();
            self.asking = Some(async move { puller.next(PULL_WAIT).await }.boxed());
        }
        self.asking.as_mut()
    }
}

/// The first message that comes, by preference when several are there.
async fn first(requests: &mut [Request], seats: &Seats) -> Result<(Delivery, Duration), QueueError> {
    std::future::poll_fn(|context| {
        for request in requests.iter_mut() {
            while let Some(asking) = request.asking(seats)
                && let Poll::Ready(answer) = asking.as_mut().poll(context)
            {
                request.asking = None;
                match answer {
                    Ok(Some(delivery)) => return Poll::Ready(Ok((delivery, request.puller.ack_wait()))),
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
            tracing::debug!(subject = delivery.subject(), "surplus: back to the queue");
            if let Err(error) = delivery.nak(None).await {
                tracing::warn!(
                    subject = delivery.subject(),
                    "give a surplus task back: {:#}",
                    anyhow::Error::from(error)
                );
            }
        }
    }
    std::future::pending().await
}
