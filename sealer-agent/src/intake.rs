//! Taking work: a slot first, then one message for it.
//!
//! Each slot is a loop of its own that never has more than one task. A slot of a class with both kinds of work asks for
//! the bound kind and for placements at once, prefers the bound, and gives a surplus answer back the moment it comes.
//! An open request is never dropped while the agent runs: its answer would be lost with it until `ack_wait` is over.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::FutureExt as _;
use host::retry::Backoff;
use streams::{
    error::QueueError,
    pull::{Delivery, Puller},
    stage::Class,
};
use tokio_util::sync::CancellationToken;

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
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if let Some(job) = first_job {
        runner.go_on(job).await;
    }
    let mut requests: Vec<Request> = sources.pullers.into_iter().map(Request::new).collect();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let answer = tokio::select! {
            answer = first(&mut requests) => answer,
            () = stop.cancelled() => break,
        };
        match answer {
            Ok((delivery, ack_wait)) => {
                failures = 0;
                let work = runner.run(sources.class, delivery, ack_wait);
                tokio::pin!(work);
                tokio::select! {
                    // In one order, so that one seed of the simulator is one run.
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

/// A standing request for one message of one consumer.
struct Request {
    puller: Puller,
    asking: Option<Asking>,
}

impl Request {
    const fn new(puller: Puller) -> Self {
        Self { puller, asking: None }
    }

    fn asking(&mut self) -> &mut Asking {
        self.asking.get_or_insert_with(|| {
            let puller = self.puller.clone();
            async move { puller.next(PULL_WAIT).await }.boxed()
        })
    }
}

/// The first message that comes, by preference when several are there.
async fn first(requests: &mut [Request]) -> Result<(Delivery, Duration), QueueError> {
    std::future::poll_fn(|context| {
        for request in requests.iter_mut() {
            while let std::task::Poll::Ready(answer) = request.asking().as_mut().poll(context) {
                request.asking = None;
                match answer {
                    Ok(Some(delivery)) => return std::task::Poll::Ready(Ok((delivery, request.puller.ack_wait()))),
                    // Nothing within the wait: ask again.
                    Ok(None) => {}
                    Err(error) => return std::task::Poll::Ready(Err(error)),
                }
            }
        }
        std::task::Poll::Pending
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
