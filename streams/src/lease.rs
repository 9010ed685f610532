//! Roles held for a time.
//!
//! The key in `LEASES` disappears by itself: it is written with `Nats-TTL` on every take and renewal. (The library's
//! `create_with_ttl` drops the time to live when a delete or expiry marker is under the key, and such a lease would
//! never expire.) The holder stops some seconds earlier, by its own monotonic clock. Two that believe they hold a role
//! do no harm: every change they make is a compare-and-set.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::HeaderMap;
use tokio::time::Instant;

use crate::{
    error::QueueError,
    id::Timestamp,
    kv::{Bucket, BucketName, CasError, Last},
    nats::{Nats, TTL_HEADER, ttl_seconds},
    records::LeaseHeld,
};

/// How much earlier than the server the holder believes that the lease ends.
const MARGIN_MAX: Duration = Duration::from_secs(5);
/// How often a take is tried while markers come and go under the key.
const TAKES_MAX: u32 = 4;

/// A role that is ours until its time is up.
#[derive(Debug)]
pub struct Lease {
    bucket: Bucket<LeaseHeld>,
    key: String,
    holder: String,
    ttl: Duration,
    term: Mutex<Term>,
}

/// What we hold: the key's revision, and until when we believe it.
#[derive(Debug, Clone, Copy)]
struct Term {
    revision: u64,
    ends: Instant,
}

impl Term {
    /// A term counts from before it was asked for, and ends before the server ends it.
    fn new(revision: u64, asked: Instant, ttl: Duration) -> Self {
        Self { revision, ends: asked + ttl.saturating_sub(MARGIN_MAX.min(ttl / 4)) }
    }
}

impl Lease {
    /// Takes the role unless another holds it. `holder` must be unique to this run of this process.
    pub async fn try_take(nats: &Nats, key: &str, holder: &str, ttl: Duration) -> Result<Option<Self>, QueueError> {
        let bucket: Bucket<LeaseHeld> = Bucket::open(nats, BucketName::Leases).await?;
        for _ in 0..TAKES_MAX {
            let over = match bucket.last(key).await? {
                Last::Value(entry) if entry.value.holder != holder => return Ok(None),
                // Ours: an earlier take was made and its answer was lost.
                Last::Value(entry) => entry.revision,
                Last::Marker { revision } => revision,
                Last::Nothing => 0,
            };
            let asked = Instant::now();
            match write(&bucket, key, holder, ttl, over).await {
                Ok(revision) => {
                    let term = Mutex::new(Term::new(revision, asked, ttl));
                    return Ok(Some(Self { bucket, key: key.to_owned(), holder: holder.to_owned(), ttl, term }));
                }
                // Another took it, or a marker came or went: look again.
                Err(CasError::Lost { .. }) => {}
                Err(CasError::Queue(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Extends it by its full time; `false` when another took it or it had ended.
    ///
    /// After an error the lease is neither extended nor lost: ask [`Lease::is_held`], and renew again.
    pub async fn renew(&self) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let mut revision = self.term().revision;
        match write(&self.bucket, &self.key, &self.holder, self.ttl, revision).await {
            Ok(renewed) => revision = renewed,
            Err(CasError::Queue(error)) => return Err(error),
            // An earlier renewal may have been made without our hearing of it.
            Err(CasError::Lost { .. }) => match self.bucket.get(&self.key).await? {
                Some(entry) if entry.value.holder == self.holder => {
                    match write(&self.bucket, &self.key, &self.holder, self.ttl, entry.revision).await {
                        Ok(renewed) => revision = renewed,
                        Err(CasError::Queue(error)) => return Err(error),
                        Err(CasError::Lost { .. }) => return Ok(self.end()),
                    }
                }
                _ => return Ok(self.end()),
            },
        }
        *self.term() = Term::new(revision, asked, self.ttl);
        Ok(true)
    }

    /// Whether it is still ours, by our own monotonic clock, which ends some seconds before the server's does.
    #[must_use]
    pub fn is_held(&self) -> bool {
        Instant::now() < self.term().ends
    }

    /// How long it is still ours, by our own clock.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.term().ends.saturating_duration_since(Instant::now())
    }

    /// Gives it back at once, so that another need not wait for its end.
    pub async fn release(&self) -> Result<(), QueueError> {
        let revision = self.term().revision;
        self.end();
        match self.bucket.delete_if(&self.key, revision).await {
            Ok(()) | Err(CasError::Lost { .. }) => Ok(()),
            Err(CasError::Queue(error)) => Err(error),
        }
    }

    /// Ends our belief, and says "not held".
    fn end(&self) -> bool {
        self.term().ends = Instant::now();
        false
    }

    fn term(&self) -> MutexGuard<'_, Term> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(bucket: &Bucket<LeaseHeld>, key: &str, holder: &str, ttl: Duration, over: u64) -> Result<u64, CasError> {
    let mut headers = HeaderMap::new();
    headers.insert(TTL_HEADER, ttl_seconds(ttl));
    let held = LeaseHeld { holder: holder.to_owned(), at: now() };
    bucket.write(key, &held, over, headers).await
}

/// Only for people who look at the bucket: nothing is decided by it.
fn now() -> Timestamp {
    let millis = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    Timestamp(u64::try_from(millis).unwrap_or(0))
}
