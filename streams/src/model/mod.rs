//! A model of the queue, for simulations: what [`Nats`] speaks to when no server is there.
//!
//! It does what JetStream was measured to do with the streams of our layout, and nothing else: sequences, work queues,
//! one open pointer a subject, compare-and-set by subject, markers and times to live, consumers whose messages come
//! back exactly `ack_wait` after the last sign of life, acknowledgements without a fence, watches, commands, artifacts.
//! `tests/model.rs` holds it to the real server.
//!
//! Everything happens on tokio's clock, so a runtime whose time is paused runs days in moments; nothing is spawned and
//! every random choice comes from one seed, so one thread plays the same seed the same way each time. A request
//! takes a random time to arrive and its answer a random time to return: whoever drops it between the two leaves its
//! effect behind and never hears of it.

mod api;
mod artifacts;
mod connection;
mod consumer;
mod feed;
mod random;
mod server;
mod service;
mod stream;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use self::random::Random;
pub(crate) use self::{
    connection::Connection,
    feed::Feed,
    service::{Incoming, Subscription},
};
use self::{
    connection::{Line, Snare},
    server::{Server, Time},
};
use crate::nats::Nats;

/// How often what goes wrong, of a million requests each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// The request never arrives.
    pub requests_lost: u32,
    /// It has its effect, and the answer never returns.
    pub answers_lost: u32,
    /// A compare-and-set is answered with "cannot tell" (10164), and had no effect.
    pub unsure: u32,
    /// A delivery is on its way for as long as a slow network takes, not for a millisecond.
    pub slow: u32,
    /// A message is delivered to a second one who waits.
    pub delivered_twice: u32,
}

/// What the model is told to do wrongly, so that those who check see that they would see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weakness {
    /// Streams whose expected revisions are not compared.
    pub unfenced: Vec<String>,
    /// Streams whose writes are acknowledged and forgotten.
    pub forgetful: Vec<String>,
    /// Streams whose consumers look as if everything were acknowledged.
    pub blind: Vec<String>,
}

/// How long one way takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// At most, as a rule.
    pub usual: Duration,
    /// At most, when [`Rates::slow`] strikes.
    pub slow: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { usual: Duration::from_millis(3), slow: Duration::from_secs(3) }
    }
}

/// Something that happened at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened<'a> {
    /// A message was stored.
    Stored {
        /// In this stream.
        stream: &'a str,
        /// Under this sequence.
        sequence: u64,
        /// Its subject.
        subject: &'a str,
        /// Its bytes; none under a marker.
        payload: &'a [u8],
        /// Whether it says that its key has no value.
        is_marker: bool,
    },
    /// A message was handed out.
    Delivered {
        /// From this stream.
        stream: &'a str,
        /// This message.
        sequence: u64,
        /// Its subject.
        subject: &'a str,
        /// How often by now.
        times: u64,
    },
    /// A message left a work queue, acknowledged or terminated.
    Settled {
        /// Of this stream.
        stream: &'a str,
        /// This message.
        sequence: u64,
        /// The verdict's first word.
        verdict: &'a str,
    },
    /// Everything was lost.
    Wiped,
}

/// Who is told of everything that happens, at its moment: milliseconds since 1970 by the server's clock.
pub type Observer = Box<dyn FnMut(u64, &Happened<'_>) + Send>;

/// The server, and the hand that hurts it.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

/// What connections share with the hand.
pub(crate) struct Shared {
    started: Instant,
    epoch_ms: u64,
    server: Mutex<Server>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").finish_non_exhaustive()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").finish_non_exhaustive()
    }
}

impl Shared {
    /// The server as it is at this moment: what time alone does to it has been done.
    pub(crate) fn server(&self) -> (MutexGuard<'_, Server>, Time) {
        let now = self.now();
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.advance(now);
        (server, now)
    }

    fn now(&self) -> Time {
        let since = self.started.elapsed();
        Time { since, epoch_ms: self.epoch_ms }
    }

    /// The instant of a moment of the server's.
    fn instant(&self, at: Duration) -> Instant {
        self.started + at
    }
}

impl Model {
    /// An empty server whose clock shows `epoch_ms` now.
    #[must_use]
    pub fn new(seed: u64, epoch_ms: u64) -> Self {
        let server = Mutex::new(Server::new(Random::new(seed)));
        Self { shared: Arc::new(Shared { started: Instant::now(), epoch_ms, server }) }
    }

    /// A connection; its name is what [`Model::cut`] takes.
    #[must_use]
    pub fn connect(&self, name: &str) -> Nats {
        Nats::over_model(Connection::new(Arc::clone(&self.shared), name))
    }

    /// How often what goes wrong from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.shared.server().0.rates = rates;
    }

    /// What is done wrongly from now on.
    pub fn weaken(&self, weakness: Weakness) {
        self.shared.server().0.weakness = weakness;
    }

    /// How long one way takes from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.shared.server().0.latency = latency;
    }

    /// Tells somebody of everything that happens from now on. It must not call the model.
    pub fn observe(&self, observer: Observer) {
        self.shared.server().0.observer = Some(observer);
    }

    /// Stops the server. What is stored stays; requests wait, and time out.
    pub fn stop(&self) {
        self.shared.server().0.up = false;
        self.turn();
    }

    /// Starts it again: what it delivered last it may have forgotten.
    pub fn start(&self) {
        {
            let (mut server, now) = self.shared.server();
            server.forget_last_deliveries(now);
            server.up = true;
        }
        self.turn();
    }

    /// Somebody empties a stream.
    pub fn purge(&self, stream: &str) {
        let (mut server, now) = self.shared.server();
        let none = bytes::Bytes::from_static(b"{}");
        drop(api::answer(&mut server, &format!("STREAM.PURGE.{stream}"), &none, now));
    }

    /// Everything that was stored is gone.
    pub fn wipe(&self) {
        self.shared.server().0.wipe();
        self.turn();
    }

    /// Nobody leads for a while: requests are answered with "nobody is there", the first of them not at all.
    pub fn lose_leader(&self, time: Duration) {
        let (mut server, now) = self.shared.server();
        server.leaderless_until = now.since.saturating_add(time);
        server.interrupt_pulls();
    }

    /// Cuts the connections of this name off, or lets them back.
    pub fn cut(&self, name: &str, is_cut: bool) {
        {
            let (mut server, _) = self.shared.server();
            if is_cut {
                server.cut.insert(name.to_owned());
            } else {
                server.cut.remove(name);
            }
        }
        self.turn();
    }

    /// The process behind this name is gone: what its connections still had to send is never sent.
    pub fn forget(&self, name: &str) {
        self.shared.server().0.lines.retain(|line| line.strong_count() > 0);
        self.for_lines(name, Line::close);
    }

    /// Does `snap` when the connection of this name next sends something whose subject begins with one of these, before
    /// it arrives.
    pub fn snare(&self, name: &str, subjects: &[&str], snap: impl Fn() + Clone + Send + 'static) {
        let snare = || Snare {
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            snap: Box::new(snap.clone()),
        };
        self.for_lines(name, |line| line.lay(Some(snare())));
    }

    /// Takes a [`Model::snare`] back.
    pub fn unsnare(&self, name: &str) {
        self.for_lines(name, |line| line.lay(None));
    }

    fn for_lines(&self, name: &str, f: impl Fn(&Line)) {
        let lines: Vec<_> = self.shared.server().0.lines.iter().filter_map(std::sync::Weak::upgrade).collect();
        lines.iter().filter(|line| line.name == name).for_each(|line| f(line));
    }

    /// Stores an artifact, as an agent would from a file.
    pub fn put_artifact(&self, name: &str, bytes: &[u8]) {
        self.shared.server().0.objects.insert(name.to_owned(), bytes.to_vec().into());
    }

    /// Reads an artifact.
    #[must_use]
    pub fn artifact(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.server().0.objects.get(name).map(|bytes| bytes.to_vec())
    }

    /// Tells every connection whether it is one, and sends what waited for that.
    fn turn(&self) {
        let lines: Vec<_> = self.shared.server().0.lines.iter().filter_map(std::sync::Weak::upgrade).collect();
        for line in lines {
            line.turn(&self.shared);
        }
    }
}
