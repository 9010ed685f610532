//! What there should be: every stream, bucket and consumer with its settings and the reason for them.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};

use crate::{kv::BucketName, stage::Class, subject::Whither};

/// Pointers to sealing work.
pub(crate) const TASKS: &str = "TASKS";
/// Window PoSt work.
pub(crate) const POST_TASKS: &str = "POST_TASKS";
/// What came of sealing work.
pub(crate) const RESULTS: &str = "RESULTS";
/// What came of window PoSt work.
pub(crate) const POST_RESULTS: &str = "POST_RESULTS";
/// Audit and live feed.
pub(crate) const EVENTS: &str = "EVENTS";
/// The object store for large things.
pub(crate) const ARTIFACTS_BUCKET: &str = "ARTIFACTS";
/// The consumer of `RESULTS`.
pub(crate) const COORDINATOR: &str = "coordinator";
/// The consumer of `POST_RESULTS`.
pub(crate) const POSTER: &str = "poster";

/// A pointer is some 200 bytes.
const TASK_BYTES_MAX: i32 = 64 << 10;
/// A result carries at most a proof.
const RESULT_BYTES_MAX: i32 = 256 << 10;
/// A full partition has 2,349 sectors of some 160 bytes each. It is also the server's default `max_payload`.
const POST_BYTES_MAX: i32 = 1 << 20;
/// A consumer per class and place, and one per watch. The server's own default is 1,000 a stream.
const CONSUMERS_MAX: i32 = 20_000;
/// Slots that may wait at one consumer at the same time; the server's default is 512.
const WAITING_MAX: i64 = 8_192;
/// Open pointers at which `nats server check stream` warns, and at which it is critical.
const POINTERS_WARN: u64 = 50_000;
const POINTERS_CRITICAL: u64 = 500_000;
/// Results that nobody takes for lack of a coordinator.
const UNTAKEN_CRITICAL: u64 = 10_000;
/// Redelivered messages at one time: agents die or stall in numbers.
const REDELIVERED_CRITICAL: u64 = 50;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Two proving days: a PoSt that old is of use to nobody.
const POST_AGE_MAX: Duration = DAY.saturating_mul(2);
const EVENT_AGE_MAX: Duration = DAY.saturating_mul(90);
/// Some six million events.
const EVENT_BYTES_MAX: i64 = 2 << 30;
/// An artifact that old was abandoned: its work has long been done or redone.
const ARTIFACT_AGE_MAX: Duration = DAY.saturating_mul(7);
/// An agent's heartbeat comes every 20 s.
const AGENT_AGE_MAX: Duration = Duration::from_secs(60);
/// How long a bucket says that a key expired.
const MARKER_AGE: Duration = Duration::from_secs(60);

/// A durable consumer and its stream.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerPlan {
    pub(crate) stream: &'static str,
    pub(crate) name: String,
    pub(crate) config: consumer::Config,
}

impl ConsumerPlan {
    pub(crate) fn what(&self) -> String {
        format!("consumer {} of stream {}", self.name, self.stream)
    }
}

/// The stream that carries a class's tasks.
pub(crate) const fn task_stream(class: Class) -> &'static str {
    if class.is_post() { POST_TASKS } else { TASKS }
}

/// `pc2-gpu`, or `pc2-gpu_host1` for one place.
pub(crate) fn consumer_name(class: Class, whither: &Whither) -> String {
    match whither {
        Whither::Any => class.to_string(),
        Whither::At(place) => format!("{class}_{place}"),
    }
}

/// Every stream, those of buckets included.
pub(super) fn streams(replicas: usize) -> Vec<Config> {
    let mut all = vec![tasks(), post_tasks(), results(), post_results(), events(), artifacts()];
    all.extend(BucketName::ALL.into_iter().map(bucket));
    for config in &mut all {
        config.storage = StorageType::File;
        config.num_replicas = replicas;
        config.max_consumers = CONSUMERS_MAX;
        monitor(&mut config.metadata, &[]);
        if replicas > 1 {
            let peers = replicas.to_string();
            let thresholds =
                [("peer-expect", peers.as_str()), ("peer-lag-critical", "1000"), ("peer-seen-critical", "30s")];
            monitor(&mut config.metadata, &thresholds);
        }
    }
    all
}

/// A work queue: a message is gone once it is acknowledged.
fn work_queue(name: &str, subjects: &str, description: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subjects.to_owned()],
        description: Some(description.to_owned()),
        retention: RetentionPolicy::WorkQueue,
        allow_direct: true,
        ..Config::default()
    }
}

/// No age limit: what waits is bounded by the sectors there are. A second open pointer of a subject is refused, for
/// as long as the first is open, which `Nats-Msg-Id` could not do.
fn tasks() -> Config {
    let mut config = Config {
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: 1,
        max_message_size: TASK_BYTES_MAX,
        ..work_queue(TASKS, "seal.>", "Pointers to sealing work, one open pointer a sector and stage")
    };
    let (warn, critical) = (POINTERS_WARN.to_string(), POINTERS_CRITICAL.to_string());
    monitor(&mut config.metadata, &[("subjects-warn", &warn), ("subjects-critical", &critical)]);
    config
}

/// Every message has a time to live of its own, to the close of its deadline.
fn post_tasks() -> Config {
    Config {
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: 1,
        max_message_size: POST_BYTES_MAX,
        max_age: POST_AGE_MAX,
        allow_message_ttl: true,
        ..work_queue(POST_TASKS, "post.>", "Window PoSt work, gone at the close of its deadline")
    }
}

/// No age limit: a result is the only trace of finished work until the coordinator has taken it.
fn results() -> Config {
    Config { max_message_size: RESULT_BYTES_MAX, ..work_queue(RESULTS, "res.>", "What came of sealing work") }
}

fn post_results() -> Config {
    Config {
        max_message_size: POST_BYTES_MAX,
        max_age: POST_AGE_MAX,
        ..work_queue(POST_RESULTS, "pres.>", "What came of window PoSt work")
    }
}

fn events() -> Config {
    Config {
        name: EVENTS.to_owned(),
        subjects: vec!["ev.>".to_owned()],
        description: Some("What happened to sectors: audit and live feed, never truth".to_owned()),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_message_size: TASK_BYTES_MAX,
        max_age: EVENT_AGE_MAX,
        max_bytes: EVENT_BYTES_MAX,
        // Never compressed: a server (2.15.1) that was killed while it wrote left a block that it could not read any
        // more ("s2: unsupported input"), and with it the whole stream.
        compression: None,
        allow_direct: true,
        ..Config::default()
    }
}

/// As the client library and the NATS CLI lay out an object store.
fn artifacts() -> Config {
    Config {
        name: format!("OBJ_{ARTIFACTS_BUCKET}"),
        subjects: vec![format!("$O.{ARTIFACTS_BUCKET}.C.>"), format!("$O.{ARTIFACTS_BUCKET}.M.>")],
        description: Some("C1 outputs and vanilla proofs, named by messages".to_owned()),
        max_age: ARTIFACT_AGE_MAX,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        ..Config::default()
    }
}

/// As the client library and the NATS CLI lay out a bucket.
fn bucket(name: BucketName) -> Config {
    let config = Config {
        name: name.stream(),
        subjects: vec![format!("$KV.{name}.>")],
        description: Some(name.description().to_owned()),
        max_messages_per_subject: history(name),
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    };
    match name {
        // A watcher hears that a key expired only with limit markers.
        BucketName::Agents => Config {
            max_age: AGENT_AGE_MAX,
            allow_message_ttl: true,
            subject_delete_marker_ttl: Some(MARKER_AGE),
            ..config
        },
        BucketName::Leases => Config { allow_message_ttl: true, subject_delete_marker_ttl: Some(MARKER_AGE), ..config },
        _ => config,
    }
}

const fn history(name: BucketName) -> i64 {
    match name {
        BucketName::Sectors | BucketName::Chain | BucketName::Messages => 5,
        BucketName::Numbers
        | BucketName::Claims
        | BucketName::Agents
        | BucketName::Stores
        | BucketName::Posts
        | BucketName::Leases
        | BucketName::Locks
        | BucketName::Cluster => 1,
    }
}

/// Consumers that do not depend on who is there: one per class, and those of the results.
pub(super) fn consumers(ack_wait: Duration) -> Vec<ConsumerPlan> {
    let mut all: Vec<ConsumerPlan> =
        Class::ALL.into_iter().map(|class| class_consumer(class, &Whither::Any, ack_wait)).collect();
    all.push(result_consumer(RESULTS, COORDINATOR, "res.>", ack_wait));
    all.push(result_consumer(POST_RESULTS, POSTER, "pres.>", ack_wait));
    all
}

/// The consumer of a class at a place.
pub(super) fn class_consumer(class: Class, whither: &Whither, ack_wait: Duration) -> ConsumerPlan {
    let head = if class.is_post() { "post" } else { "seal" };
    let mut config = durable(consumer_name(class, whither), format!("{head}.{class}.{whither}.>"), ack_wait);
    config.metadata.insert("class".to_owned(), class.to_string());
    if let Whither::At(place) = whither {
        config.metadata.insert("place".to_owned(), place.to_string());
    }
    plan(task_stream(class), config)
}

fn result_consumer(stream: &'static str, name: &str, filter: &str, ack_wait: Duration) -> ConsumerPlan {
    let mut config = durable(name.to_owned(), filter.to_owned(), ack_wait);
    let untaken = UNTAKEN_CRITICAL.to_string();
    monitor(&mut config.metadata, &[("unprocessed-critical", &untaken)]);
    plan(stream, config)
}

fn plan(stream: &'static str, config: pull::Config) -> ConsumerPlan {
    let name = config.durable_name.clone().unwrap_or_default();
    ConsumerPlan { stream, name, config: consumer::IntoConsumerConfig::into_consumer_config(config) }
}

/// Attempts are counted in the claim, so deliveries are not (`max_deliver`): past it a message would stay in the
/// stream and be seen by nobody. A slot is taken before a message is pulled, so `max_ack_pending` needs no bound; a
/// small one would let a few held messages freeze a class. No `backoff`: it would replace `ack_wait`.
fn durable(name: String, filter: String, ack_wait: Duration) -> pull::Config {
    let mut metadata = HashMap::new();
    let (redelivered, waiting) = (REDELIVERED_CRITICAL.to_string(), (WAITING_MAX / 4 * 3).to_string());
    monitor(&mut metadata, &[("redelivery-critical", &redelivered), ("waiting-critical", &waiting)]);
    pull::Config {
        name: Some(name.clone()),
        durable_name: Some(name),
        filter_subject: filter,
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_deliver: -1,
        max_ack_pending: -1,
        max_waiting: WAITING_MAX,
        metadata,
        ..pull::Config::default()
    }
}

/// Thresholds as `nats server check` reads them.
fn monitor(metadata: &mut HashMap<String, String>, thresholds: &[(&str, &str)]) {
    metadata.insert("io.nats.monitor.enabled".to_owned(), "true".to_owned());
    for (name, value) in thresholds {
        metadata.insert(format!("io.nats.monitor.{name}"), (*value).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy};

    use super::{class_consumer, consumers, streams};
    use crate::{stage::Class, subject::Whither};

    #[test]
    fn consumers_are_named_as_their_class_and_place() {
        let wait = Duration::from_secs(60);
        let free = class_consumer(Class::C2Gpu, &Whither::Any, wait);
        assert_eq!((free.stream, free.name.as_str()), ("TASKS", "c2-gpu"));
        assert_eq!(free.config.filter_subject, "seal.c2-gpu.any.>");
        let bound = class_consumer(Class::PostIo, &"host-1".parse().unwrap(), wait);
        assert_eq!((bound.stream, bound.name.as_str()), ("POST_TASKS", "post-io_host-1"));
        assert_eq!(bound.config.filter_subject, "post.post-io.host-1.>");
    }

    #[test]
    fn consumer_filters_of_one_work_queue_never_overlap() {
        let all = consumers(Duration::from_secs(60));
        for a in &all {
            for b in all.iter().filter(|b| b.stream == a.stream && b.name != a.name) {
                assert_ne!(a.config.filter_subject, b.config.filter_subject);
            }
        }
    }

    #[test]
    fn nothing_that_must_not_be_lost_has_an_age() {
        let ageless = [
            "TASKS",
            "RESULTS",
            "KV_SECTORS",
            "KV_NUMBERS",
            "KV_MESSAGES",
            "KV_LOCKS",
            "KV_CLAIMS",
            "KV_POSTS",
            "KV_CHAIN",
            "KV_CLUSTER",
        ];
        for config in streams(1).iter().filter(|config| ageless.contains(&config.name.as_str())) {
            assert_eq!(config.max_age, Duration::ZERO, "{}", config.name);
            assert_eq!(config.max_bytes, 0, "{}", config.name);
        }
    }

    #[test]
    fn an_open_pointer_keeps_a_second_one_out() {
        let all = streams(1);
        let tasks = all.iter().find(|config| config.name == "TASKS").unwrap();
        assert_eq!(tasks.retention, RetentionPolicy::WorkQueue);
        assert_eq!(tasks.discard, DiscardPolicy::New);
        assert!(tasks.discard_new_per_subject);
        assert_eq!(tasks.max_messages_per_subject, 1);
    }

    #[test]
    fn no_stream_acknowledges_before_it_syncs() {
        assert!(streams(3).iter().all(|config| config.persist_mode.is_none()));
    }
}
