//! What `nats stream report` and `nats consumer report` show, for those who do not have the NATS CLI.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{consumer, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{error::QueueError, layout, nats::Nats, subject::TaskSubject};

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

/// `$JS.API.STREAM.INFO` with the names of subjects, by the page.
#[derive(Serialize)]
struct Subjects {
    subjects_filter: &'static str,
    offset: usize,
}

#[derive(Deserialize)]
struct Listed {
    state: ListedState,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct ListedState {
    subjects: Option<BTreeMap<String, u64>>,
}

/// Every open pointer in `TASKS`: what `nats stream subjects TASKS` lists. A subject that is not ours is an error.
pub async fn task_pointers(nats: &Nats) -> Result<Vec<TaskSubject>, QueueError> {
    let client = |source| QueueError::Client { what: format!("list the subjects of stream {}", layout::TASKS), source };
    let mut names: Vec<String> = Vec::new();
    loop {
        let asked = Subjects { subjects_filter: "seal.>", offset: names.len() };
        let what = format!("stream {}", layout::TASKS);
        let page: Listed = nats.api(&what, &format!("STREAM.INFO.{}", layout::TASKS), &asked).await?;
        let listed = page.state.subjects.unwrap_or_default();
        let is_last = listed.is_empty() || names.len() + listed.len() >= page.total;
        names.extend(listed.into_keys());
        if is_last {
            break;
        }
    }
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| name.parse().map_err(|e: crate::subject::BadSubject| client(e.into()))).collect()
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
