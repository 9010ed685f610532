//! What `nats stream report` and `nats consumer report` show, for those who do not have the NATS CLI.

use std::{str::FromStr, time::Duration};

use async_nats::jetstream::{consumer, message::StreamMessage, stream};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::QueueError,
    id::SectorId,
    layout,
    message::{SectorEvent, decode},
    nats::Nats,
    request::MESSAGE_NOT_FOUND,
    subject::{BadSubject, ResultSubject, TaskSubject},
};

/// One stream, as `nats stream report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamRow {
    /// Its name.
    pub stream: String,
    /// `file` or `memory`.
    pub storage: String,
    /// Consumers.
    pub consumers: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// Messages known to be lost.
    pub lost: u64,
    /// Messages deleted from the middle.
    pub deleted: u64,
    /// Copies.
    pub replicas: u64,
    /// The server that leads it, on a cluster.
    pub leader: Option<String>,
}

/// One consumer, as `nats consumer report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumerRow {
    /// Its stream.
    pub stream: String,
    /// Its name: the class, or the class and the place.
    pub consumer: String,
    /// How long a task may be silent.
    pub ack_wait: Duration,
    /// Running: delivered and not acknowledged.
    pub ack_pending: u64,
    /// Delivered more than once.
    pub redelivered: u64,
    /// Queued: not delivered yet.
    pub unprocessed: u64,
    /// Pulls that wait: idle slots.
    pub waiting: u64,
    /// Everything up to this sequence is acknowledged.
    pub ack_floor: u64,
    /// Whether somebody paused it with `nats consumer pause`.
    pub paused: bool,
}

/// One page of a list.
#[derive(Deserialize)]
struct Page<T> {
    total: usize,
    #[serde(alias = "streams", alias = "consumers", default = "Option::default")]
    items: Option<Vec<T>>,
}

#[derive(Serialize)]
struct From {
    offset: usize,
}

/// Every stream, by name.
pub async fn stream_report(nats: &Nats) -> Result<Vec<StreamRow>, QueueError> {
    let mut rows: Vec<StreamRow> = list::<serde_json::Value>(nats, "list streams", "STREAM.LIST")
        .await?
        .iter()
        .map(stream_row)
        .collect::<Result<_, _>>()?;
    rows.sort_by(|a, b| a.stream.cmp(&b.stream));
    Ok(rows)
}

fn stream_row(value: &serde_json::Value) -> Result<StreamRow, QueueError> {
    let unreadable = |source: serde_json::Error| QueueError::Client {
        what: "read a stream's state".to_owned(),
        source: source.into(),
    };
    let info: stream::Info = serde_json::from_value(value.clone()).map_err(unreadable)?;
    let lost = value.pointer("/state/lost/msgs").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    let storage = match info.config.storage {
        stream::StorageType::File => "file",
        stream::StorageType::Memory => "memory",
    };
    Ok(StreamRow {
        stream: info.config.name,
        storage: storage.to_owned(),
        consumers: count(info.state.consumer_count),
        messages: info.state.messages,
        bytes: info.state.bytes,
        lost: count(lost),
        deleted: info.state.deleted_count.unwrap_or(0),
        replicas: count(info.config.num_replicas),
        leader: info.cluster.and_then(|cluster| cluster.leader),
    })
}

/// Every consumer of a stream, by name.
pub async fn consumer_report(nats: &Nats, stream: &str) -> Result<Vec<ConsumerRow>, QueueError> {
    let verb = format!("CONSUMER.LIST.{stream}");
    let consumers = list::<consumer::Info>(nats, &format!("stream {stream}"), &verb).await?;
    let mut rows: Vec<ConsumerRow> = consumers.into_iter().map(consumer_row).collect();
    rows.sort_by(|a, b| a.consumer.cmp(&b.consumer));
    Ok(rows)
}

fn consumer_row(info: consumer::Info) -> ConsumerRow {
    ConsumerRow {
        stream: info.stream_name,
        consumer: info.name,
        ack_wait: info.config.ack_wait,
        ack_pending: count(info.num_ack_pending),
        redelivered: count(info.num_redelivered),
        unprocessed: info.num_pending,
        waiting: count(info.num_waiting),
        ack_floor: info.ack_floor.stream_sequence,
        paused: info.paused,
    }
}

/// Every open pointer in `TASKS`: what `nats stream subjects TASKS` lists.
pub async fn task_pointers(nats: &Nats) -> Result<Vec<TaskSubject>, QueueError> {
    subjects(nats, layout::TASKS, "seal.>").await
}

/// Every result in `RESULTS` that is not settled, by its subject.
pub async fn open_results(nats: &Nats) -> Result<Vec<ResultSubject>, QueueError> {
    subjects(nats, layout::RESULTS, "res.>").await
}

/// The newest event of a sector on `EVENTS`, if one is kept.
pub async fn last_event(nats: &Nats, sector: SectorId) -> Result<Option<SectorEvent>, QueueError> {
    let subject = format!("ev.{}.>", sector.key());
    let what = format!("read {subject}");
    let verb = format!("STREAM.MSG.GET.{}", layout::EVENTS);
    let found: Found = match nats.api(&what, &verb, &LastBySubject { last_by_subj: &subject }).await {
        Ok(found) => found,
        Err(QueueError::Refused { code: MESSAGE_NOT_FOUND, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let message =
        StreamMessage::try_from(found.message).map_err(|source| QueueError::Client { what: what.clone(), source })?;
    decode(&message.payload).map(Some).map_err(|source| QueueError::Text { what, source })
}

#[derive(Serialize)]
struct LastBySubject<'a> {
    last_by_subj: &'a str,
}

#[derive(Deserialize)]
struct Found {
    message: stream::RawMessage,
}

/// The subjects of a stream that hold messages, sorted.
async fn subjects<S: FromStr<Err = BadSubject>>(
    nats: &Nats,
    name: &'static str,
    filter: &str,
) -> Result<Vec<S>, QueueError> {
    let client = |source| QueueError::Client { what: format!("list the subjects of stream {name}"), source };
    let stream = nats.jetstream().get_stream_no_info(name).await.map_err(|e| client(e.into()))?;
    let subjects = stream.info_with_subjects(filter).await.map_err(|e| client(e.into()))?;
    let mut names: Vec<String> =
        subjects.map_ok(|(subject, _)| subject).try_collect().await.map_err(|e| client(e.into()))?;
    names.sort_unstable();
    // One that is not ours was put there by a mistake or in bad faith: it must not hide the others.
    Ok(names
        .iter()
        .filter_map(|subject| {
            subject.parse().map_err(|error| tracing::warn!(%error, "a message that is not ours")).ok()
        })
        .collect())
}

async fn list<T: DeserializeOwned>(nats: &Nats, what: &str, verb: &str) -> Result<Vec<T>, QueueError> {
    let mut all = Vec::new();
    loop {
        let page: Page<T> = nats.api(what, verb, &From { offset: all.len() }).await?;
        let items = page.items.unwrap_or_default();
        let is_last = items.is_empty();
        all.extend(items);
        if is_last || all.len() >= page.total {
            return Ok(all);
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
