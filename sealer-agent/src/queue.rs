//! What an agent takes its work from, and how it is opened: consumers of its place are made by whoever comes first.

use std::time::{Duration, Instant};

use host::exit::CliError;
use streams::{
    error::QueueError,
    id::Place,
    kv::{Bucket, BucketName},
    layout,
    nats::Nats,
    pull::Puller,
    records::{CLAIM_STALE_MS, Claim},
    stage::Class,
    subject::Whither,
};

use crate::{
    config::Config,
    error,
    intake::{Consumer, Sources},
};

/// How often it is looked whether the queue is laid out.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an agent takes its work from.
#[derive(Debug)]
pub(crate) struct Queue {
    claims: Bucket<Claim>,
    sources: Vec<Sources>,
}

/// A consumer that an agent takes work from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) class: Class,
    pub(crate) whither: Whither,
}

impl Queue {
    /// Opens it; waits a while for the coordinator to lay it out.
    pub(crate) async fn open(
        nats: &Nats,
        config: &Config,
        classes: impl Iterator<Item = Class> + Clone,
        place: &Place,
    ) -> Result<Self, CliError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match Self::try_open(nats, classes.clone(), place).await {
                Ok(queue) => return Ok(queue),
                Err(error @ QueueError::Missing { .. }) if began.elapsed() < config.nats.layout_wait => {
                    if !told {
                        tracing::info!("{error}: waiting for a coordinator to lay out the queue");
                        told = true;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(error::queue(error)),
            }
        }
    }

    async fn try_open(nats: &Nats, classes: impl Iterator<Item = Class>, place: &Place) -> Result<Self, QueueError> {
        let claims = Bucket::open(nats, BucketName::Claims).await?;
        let mut sources = Vec::new();
        for class in classes {
            let mut pullers = Vec::new();
            for source in consumers(class, place) {
                let bound = matches!(source.whither, Whither::At(_));
                pullers.push(Consumer { puller: open_consumer(nats, &source).await?, bound });
            }
            sources.push(Sources { class, pullers });
        }
        Ok(Self { claims, sources })
    }

    pub(crate) fn claims(&self) -> Bucket<Claim> {
        self.claims.clone()
    }

    /// How long a task, and a claim, may be silent: the same for every consumer, as the coordinator chose it.
    pub(crate) fn ack_wait(&self) -> Duration {
        let mut pullers = self.sources.iter().flat_map(|sources| &sources.pullers);
        pullers.next().map_or(Duration::from_millis(CLAIM_STALE_MS), |consumer| consumer.puller.ack_wait())
    }

    /// By class.
    pub(crate) fn into_sources(self) -> Vec<Sources> {
        self.sources
    }
}

/// The consumers of a class, the preferred first: work that is bound comes before placements.
pub(crate) fn consumers(class: Class, place: &Place) -> Vec<Source> {
    let bound = class.has_bound_tasks().then(|| Source { class, whither: Whither::At(place.clone()) });
    let free = class.has_free_tasks().then_some(Source { class, whither: Whither::Any });
    bound.into_iter().chain(free).collect()
}

/// Opens a consumer. That of a class at this place is made by who comes first, with the `ack_wait` the coordinator chose
/// for the consumers that it made.
pub(crate) async fn open_consumer(nats: &Nats, source: &Source) -> Result<Puller, QueueError> {
    let Source { class, whither } = source;
    match (Puller::open(nats, *class, whither).await, whither) {
        (Err(QueueError::Missing { .. }), Whither::At(_)) => {
            let ack_wait = Puller::open(nats, Class::C2Gpu, &Whither::Any).await?.ack_wait();
            layout::ensure_class(nats, *class, whither, ack_wait).await?;
            Puller::open(nats, *class, whither).await
        }
        (opened, _) => opened,
    }
}
