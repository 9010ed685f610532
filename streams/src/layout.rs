//! Streams, buckets and consumers: created where missing, with drift reported.
//!
//! What they are is data in [`plan`](self::plan); names that an operator types into the NATS CLI are part of the
//! interface. `nats consumer report TASKS` is the dashboard of the classes: ack pending is running, unprocessed is
//! queued. `nats server check stream` and `… consumer` find their thresholds in the metadata.

use std::{fmt, time::Duration};

use async_nats::jetstream::{consumer, stream};
use serde::Serialize;

use crate::{error::QueueError, nats::Nats, request::Plain, stage::Class, subject::Whither};

mod drift;
mod plan;

pub(crate) use plan::{
    ARTIFACTS_BUCKET, COORDINATOR, ConsumerPlan, EVENTS, POST_RESULTS, POSTER, RESULTS, TASKS, consumer_name,
    task_stream,
};

/// What the operator decides about the layout.
#[derive(Debug, Clone)]
pub struct LayoutOptions {
    /// Copies of every stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// How long a task may be silent before another agent gets it.
    pub ack_wait: Duration,
}

/// A setting that is not what this program would have set. It is reported and never changed behind an operator's back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What has it: `stream TASKS`, `consumer pc2-gpu of stream TASKS`.
    pub of: String,
    /// The setting.
    pub setting: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, want {}", self.of, self.setting, self.found, self.wanted)
    }
}

/// Creates what is missing and reports what differs.
pub async fn ensure(nats: &Nats, options: &LayoutOptions) -> Result<Vec<Drift>, QueueError> {
    let mut drift = Vec::new();
    for wanted in plan::streams(options.replicas) {
        let found = ensure_stream(nats, &wanted).await?;
        drift.extend(drift::of(&format!("stream {}", wanted.name), &wanted, &found));
    }
    for wanted in plan::consumers(options.ack_wait) {
        let found = ensure_consumer(nats, &wanted).await?;
        drift.extend(drift::of(&wanted.what(), &wanted.config, &found));
    }
    Ok(drift)
}

/// Creates the durable consumer of a class at a place, unless it exists.
pub async fn ensure_class(nats: &Nats, class: Class, whither: &Whither, ack_wait: Duration) -> Result<(), QueueError> {
    let wanted = plan::class_consumer(class, whither, ack_wait);
    for drift in drift::of(&wanted.what(), &wanted.config, &ensure_consumer(nats, &wanted).await?) {
        tracing::warn!(%drift, "a queue setting differs");
    }
    Ok(())
}

async fn ensure_stream(nats: &Nats, wanted: &stream::Config) -> Result<stream::Config, QueueError> {
    match stream_info(nats, &wanted.name).await {
        Ok(info) => return Ok(info.config),
        Err(QueueError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let created = nats
        .api::<stream::Info>(
            &format!("create stream {}", wanted.name),
            &format!("STREAM.CREATE.{}", wanted.name),
            wanted,
        )
        .await;
    match created {
        Ok(info) => {
            tracing::info!(stream = wanted.name, "created a stream");
            Ok(info.config)
        }
        // Two that start at once both find it missing; the second is refused when its wishes differ.
        Err(error) => stream_info(nats, &wanted.name).await.map(|info| info.config).map_err(|_| error),
    }
}

/// `$JS.API.CONSUMER.CREATE`, as "create and never update".
#[derive(Serialize)]
struct CreateConsumer<'a> {
    stream_name: &'a str,
    config: &'a consumer::Config,
    action: &'static str,
}

async fn ensure_consumer(nats: &Nats, wanted: &ConsumerPlan) -> Result<consumer::Config, QueueError> {
    let ConsumerPlan { stream, name, config } = wanted;
    let info = || async {
        nats.api::<consumer::Info>(&wanted.what(), &format!("CONSUMER.INFO.{stream}.{name}"), &Plain {}).await
    };
    match info().await {
        Ok(info) => return Ok(info.config),
        Err(QueueError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let verb = format!("CONSUMER.CREATE.{stream}.{name}.{}", config.filter_subject);
    let request = CreateConsumer { stream_name: stream, config, action: "create" };
    match nats.api::<consumer::Info>(&format!("create {}", wanted.what()), &verb, &request).await {
        Ok(info) => {
            tracing::info!(stream, consumer = name, "created a consumer");
            Ok(info.config)
        }
        Err(error) => info().await.map(|info| info.config).map_err(|_| error),
    }
}

/// A stream as its leader describes it.
pub(crate) async fn stream_info(nats: &Nats, name: &str) -> Result<stream::Info, QueueError> {
    nats.api(&format!("stream {name}"), &format!("STREAM.INFO.{name}"), &Plain {}).await
}
