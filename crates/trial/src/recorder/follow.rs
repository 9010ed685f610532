//! Following a stream that keeps its messages.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::Info,
    },
};
use futures::StreamExt as _;

use super::Recorder;
use crate::evidence::{Body, QueueLine, Stored};

/// Messages asked for at a time, and how long one such question stands.
const BATCH: usize = 1_000;
const STANDS: Duration = Duration::from_secs(1);
/// How often it is looked whether the connection came back: what was asked before is forgotten then, and a bucket keeps
/// few values of a key that changes meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// The server forgets a consumer that nobody pulls from.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// How far one life of a stream is written down.
#[derive(Debug, Clone)]
struct Place {
    created: String,
    next: u64,
    /// Which life this is, from 1.
    life: u32,
}

impl Recorder {
    /// Follows a stream until told to stop.
    pub(super) async fn follow(&self, name: &str) -> anyhow::Result<()> {
        let mut place: Option<Place> = None;
        let mut is_gone = false;
        let mut lives = 0;
        loop {
            let is_away = match self.inner.nats.jetstream().get_stream(name).await {
                Ok(stream) => {
                    let info = stream.cached_info().clone();
                    let here = match place.take().filter(|place| !is_gone && goes_on(place, &info)) {
                        Some(place) => place,
                        None => {
                            lives += 1;
                            self.begins(name, &info, lives)?
                        }
                    };
                    is_gone = false;
                    place = Some(self.read_on(name, here, &info).await?);
                    false
                }
                Err(error) if is_missing(&error) && place.is_some() && !is_gone => {
                    is_gone = true;
                    self.note(&QueueLine::Gone { at: self.now(), stream: name.to_owned() })?;
                    true
                }
                // The server may come back with the stream or without.
                Err(error) => {
                    tracing::debug!(stream = name, "look at it: {error}");
                    true
                }
            };
            if self.inner.stop.is_cancelled() || (is_away && self.pause().await) {
                return Ok(());
            }
        }
    }

    fn begins(&self, name: &str, info: &Info, life: u32) -> anyhow::Result<Place> {
        let created = info.created.to_string();
        self.note(&QueueLine::Begins { at: self.now(), stream: name.to_owned(), created: created.clone() })?;
        self.set_written(name, &created, 0);
        Ok(Place { created, next: 1, life })
    }

    /// Reads from where it was on, until something is wrong or nothing came for a while.
    async fn read_on(&self, name: &str, mut place: Place, info: &Info) -> anyhow::Result<Place> {
        let old = info.state.last_sequence;
        let statistics = self.inner.nats.client().statistics();
        let connects = || statistics.connects.load(Ordering::Relaxed);
        let connection = connects();
        let Ok(consumer) = self.consumer(name, place.next).await.inspect_err(|error| {
            tracing::debug!(stream = name, "follow it: {error:#}");
        }) else {
            self.pause().await;
            return Ok(place);
        };
        loop {
            // What is there now, and does not come, was deleted.
            let before = match self.inner.nats.jetstream().get_stream(name).await {
                Ok(stream) if goes_on(&place, stream.cached_info()) => stream.cached_info().state.last_sequence,
                _ => return Ok(place),
            };
            let batch = consumer.batch().max_messages(BATCH).expires(STANDS).messages();
            let Ok(mut batch) = batch.await else { return Ok(place) };
            let mut came = false;
            loop {
                let next = tokio::select! {
                    next = batch.next() => next,
                    () = tokio::time::sleep(LOOK) => {
                        if connects() == connection {
                            continue;
                        }
                        return Ok(place);
                    }
                    () = self.inner.stop.cancelled() => return Ok(place),
                };
                match next {
                    Some(Ok(message)) => {
                        came = true;
                        self.keep(name, &mut place, &message, old)?;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(stream = name, "pull: {error}");
                        return Ok(place);
                    }
                    None => break,
                }
            }
            if !came && before >= place.next {
                self.missed(name, &place, before, old)?;
                place.next = before + 1;
                self.set_written(name, &place.created, before);
            }
        }
    }

    async fn consumer(&self, name: &str, from: u64) -> anyhow::Result<PullConsumer> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = self.inner.nats.jetstream().get_stream(name).await?;
        Ok(stream.create_consumer(config).await?)
    }

    fn keep(&self, name: &str, place: &mut Place, message: &jetstream::Message, old: u64) -> anyhow::Result<()> {
        let info = message.info().map_err(|error| anyhow::anyhow!("a message of {name} without its place: {error}"))?;
        let seq = info.stream_sequence;
        // A consumer of one server forgets how far it was when another leads it, and begins anew.
        if seq < place.next {
            return Ok(());
        }
        if seq > place.next {
            self.missed(name, place, seq - 1, old)?;
        }
        let stored = Stored {
            at: self.now(),
            stored_us: u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0),
            stream: name.to_owned(),
            seq,
            subject: message.subject.to_string(),
            headers: headers(message.headers.as_ref()),
            body: Body::of(&message.payload),
        };
        self.note(&QueueLine::Stored(stored))?;
        place.next = seq + 1;
        self.set_written(name, &place.created, seq);
        Ok(())
    }

    /// Notes sequences that did not come. What a restore brought back has the holes that it always had.
    fn missed(&self, name: &str, place: &Place, to: u64, old: u64) -> anyhow::Result<()> {
        if place.life > 1 && to <= old {
            return Ok(());
        }
        self.note(&QueueLine::Missed { at: self.now(), stream: name.to_owned(), from: place.next, to })
    }
}

/// Whether a stream is the one that was followed so far: one that has less than was written down is not.
fn goes_on(place: &Place, info: &Info) -> bool {
    info.created.to_string() == place.created && info.state.last_sequence + 1 >= place.next
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::{ErrorCode, context::GetStreamErrorKind};
    matches!(error.kind(), GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

pub(super) fn headers(map: Option<&HeaderMap>) -> BTreeMap<String, String> {
    let pairs = map.into_iter().flat_map(HeaderMap::iter);
    pairs.map(|(name, values)| (name.to_string(), join(values.iter().map(|value| value.as_str())))).collect()
}

fn join<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.collect::<Vec<_>>().join(", ")
}
