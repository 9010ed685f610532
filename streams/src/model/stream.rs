//! One stream: messages under sequences, and the rules by which it takes and drops them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::stream::{Config, DiscardPolicy, RetentionPolicy},
};
use bytes::Bytes;

use super::server::{Time, matches};

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";
const MARKER_REASON: &str = "Nats-Marker-Reason";

/// A stored message.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
    /// When, by the server's clock since its start.
    pub(super) at: Duration,
    expires: Option<Duration>,
}

/// Why a message is not taken: the error code, as HTTP and as JetStream's, and the words.
pub(super) type Refused = (u64, u64, String);

/// A message that came or went by itself.
#[derive(Debug)]
pub(super) enum Aged {
    Gone { sequence: u64 },
    Marker { sequence: u64, subject: String },
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) config: Config,
    pub(super) created: Duration,
    pub(super) messages: BTreeMap<u64, Stored>,
    pub(super) by_subject: BTreeMap<String, BTreeSet<u64>>,
    expiries: BTreeSet<(Duration, u64)>,
    pub(super) last: u64,
}

impl Stream {
    pub(super) fn new(config: Config, created: Duration) -> Self {
        Self {
            config,
            created,
            messages: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            expiries: BTreeSet::new(),
            last: 0,
        }
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        self.config.subjects.iter().any(|pattern| matches(pattern, subject))
    }

    pub(super) fn is_work_queue(&self) -> bool {
        self.config.retention == RetentionPolicy::WorkQueue
    }

    pub(super) fn last_of(&self, subject: &str) -> Option<u64> {
        self.by_subject.get(subject).and_then(|sequences| sequences.last().copied())
    }

    /// The next moment at which a message goes by itself.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Takes a message, and returns its sequence with those it pushed out.
    pub(super) fn store(
        &mut self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        now: Time,
    ) -> Result<(u64, Vec<u64>), Refused> {
        let limit = self.config.max_message_size;
        if limit > 0 && i64::from(limit) < i64::try_from(payload.len()).unwrap_or(i64::MAX) {
            return Err((400, 10054, "message size exceeds maximum allowed".to_owned()));
        }
        let header = |name: &str| headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
        let ttl = match header(TTL) {
            Some(_) if !self.config.allow_message_ttl => {
                return Err((400, 10166, "per-message TTL is disabled".to_owned()));
            }
            Some(words) => Some(Duration::from_secs(words.parse().unwrap_or(1))),
            None => None,
        };
        if let Some(expected) = header(EXPECTED).and_then(|words| words.parse::<u64>().ok()) {
            let last = self.last_of(subject).unwrap_or(0);
            if expected != last {
                return Err((400, 10071, format!("wrong last sequence: {last}")));
            }
        }
        let per_subject = usize::try_from(self.config.max_messages_per_subject).unwrap_or(0);
        let open = self.by_subject.get(subject).map_or(0, BTreeSet::len);
        let is_full = per_subject > 0 && open >= per_subject;
        if is_full && self.config.discard == DiscardPolicy::New && self.config.discard_new_per_subject {
            return Err((503, 10077, "maximum messages per subject exceeded".to_owned()));
        }
        let sequence = self.append(subject, headers, payload, now.since, ttl);
        let mut pushed_out = Vec::new();
        while per_subject > 0 && self.by_subject.get(subject).is_some_and(|all| all.len() > per_subject) {
            let Some(oldest) = self.by_subject.get(subject).and_then(|all| all.first().copied()) else { break };
            self.remove(oldest);
            pushed_out.push(oldest);
        }
        Ok((sequence, pushed_out))
    }

    fn append(
        &mut self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        at: Duration,
        ttl: Option<Duration>,
    ) -> u64 {
        self.last += 1;
        let age = Some(self.config.max_age).filter(|age| !age.is_zero());
        let expires = [ttl, age].into_iter().flatten().min().map(|life| at.saturating_add(life));
        if let Some(expires) = expires {
            self.expiries.insert((expires, self.last));
        }
        self.messages.insert(self.last, Stored { subject: subject.to_owned(), headers, payload, at, expires });
        self.by_subject.entry(subject.to_owned()).or_default().insert(self.last);
        self.last
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Stored> {
        let gone = self.messages.remove(&sequence)?;
        if let Some(expires) = gone.expires {
            self.expiries.remove(&(expires, sequence));
        }
        if let Some(left) = self.by_subject.get_mut(&gone.subject) {
            left.remove(&sequence);
            if left.is_empty() {
                self.by_subject.remove(&gone.subject);
            }
        }
        Some(gone)
    }

    /// Does what time does. A value that goes leaves a marker where the stream is told to leave one; a marker goes
    /// without.
    pub(super) fn age(&mut self, now: Duration) -> Vec<Aged> {
        let mut aged = Vec::new();
        while let Some((at, sequence)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            let Some(gone) = self.remove(sequence) else {
                self.expiries.remove(&(at, sequence));
                continue;
            };
            aged.push(Aged::Gone { sequence });
            let marker = self
                .config
                .subject_delete_marker_ttl
                .filter(|_| !is_marker(gone.headers.as_ref()) && !self.by_subject.contains_key(&gone.subject));
            if let Some(life) = marker {
                let mut headers = HeaderMap::new();
                headers.insert(MARKER_REASON, "MaxAge");
                let sequence = self.append(&gone.subject, Some(headers), Bytes::new(), at, Some(life));
                aged.push(Aged::Marker { sequence, subject: gone.subject });
            }
        }
        aged
    }

    /// The last message of every subject that a filter matches, in order.
    pub(super) fn last_per_subject(&self, filter: &str) -> Vec<u64> {
        let matching = self.by_subject.iter().filter(|(subject, _)| matches(filter, subject));
        let mut sequences: Vec<u64> = matching.filter_map(|(_, all)| all.last().copied()).collect();
        sequences.sort_unstable();
        sequences
    }
}

/// Whether a message says that its key has no value.
pub(super) fn is_marker(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| {
        let operation = headers.get("KV-Operation").map(async_nats::HeaderValue::as_str);
        matches!(operation, Some("DEL" | "PURGE")) || headers.get(MARKER_REASON).is_some()
    })
}
