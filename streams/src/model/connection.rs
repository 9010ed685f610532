//! The client's end: what a request goes through on its way, and what its sender hears of it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{
    Feed, Shared,
    consumer::Answer,
    feed::until,
    server::{Effect, reply},
};
use crate::error::QueueError;

/// A request that waits for a connection.
#[derive(Debug)]
struct Late {
    subject: String,
    headers: Option<HeaderMap>,
    payload: Bytes,
}

/// One connection, whoever holds it.
pub(crate) struct Line {
    pub(super) name: String,
    state: Mutex<LineState>,
    /// Not a watch channel: that wakes those who wait in an order of its own choice.
    turned: Notify,
    /// Sent when the connection comes back, even if the sender gave up meanwhile: as the client library does.
    late: Mutex<VecDeque<Late>>,
    snare: Mutex<Option<Snare>>,
}

/// What happens to a process, once, when a request whose subject begins with one of these leaves.
pub(super) struct Snare {
    pub(super) subjects: Vec<String>,
    pub(super) snap: Box<dyn FnOnce() + Send>,
}

#[derive(Debug, Clone, Copy, Default)]
struct LineState {
    connected: bool,
    closed: bool,
    turns: u64,
}

/// Told whenever a connection comes or goes.
pub(super) struct Turns<'a> {
    line: &'a Line,
    seen: u64,
}

impl Turns<'_> {
    pub(super) async fn changed(&mut self) {
        loop {
            let mut turned = std::pin::pin!(self.line.turned.notified());
            turned.as_mut().enable();
            let turns = self.line.state().turns;
            if turns != self.seen {
                self.seen = turns;
                return;
            }
            turned.await;
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn is_connected(&self) -> bool {
        self.state().connected
    }

    /// Told whenever the connection comes or goes.
    pub(super) fn turns(&self) -> Turns<'_> {
        Turns { line: self, seen: self.state().turns }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How long one way takes.
    pub(super) fn way(&self, shared: &Shared) -> Duration {
        let (mut server, _) = shared.server();
        let (latency, slow) = (server.latency, server.rates.slow);
        let most = if server.random.strikes(slow) { latency.slow } else { latency.usual };
        server.random.time(most)
    }

    /// Lays a snare, in place of an earlier one; `None` takes that back.
    pub(super) fn lay(&self, snare: Option<Snare>) {
        *self.snare.lock().unwrap_or_else(PoisonError::into_inner) = snare;
    }

    fn leaves(&self, subject: &str) {
        let snare = {
            let mut laid = self.snare.lock().unwrap_or_else(PoisonError::into_inner);
            laid.take_if(|snare| snare.subjects.iter().any(|begin| subject.starts_with(begin)))
        };
        if let Some(snare) = snare {
            (snare.snap)();
        }
    }

    /// The process is gone.
    pub(super) fn close(&self) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).clear();
        {
            let mut state = self.state();
            state.closed = true;
            state.turns += 1;
        }
        self.turned.notify_waiters();
    }

    /// Takes notice of whether there is a connection.
    pub(super) fn turn(&self, shared: &Shared) {
        let is = shared.server().0.reaches(&self.name);
        let was = self.is_connected();
        if is && !was {
            let late: Vec<Late> = self.late.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
            for Late { subject, headers, payload } in late {
                let (mut server, now) = shared.server();
                // Its sender has given up: the effect remains.
                drop(server.arrive(&subject, headers, &payload, now));
            }
        }
        if is != was {
            {
                let mut state = self.state();
                state.connected = is;
                state.turns += 1;
            }
            self.turned.notify_waiters();
        }
    }
}

/// A handle on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) line: Arc<Line>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let connected = shared.server().0.reaches(name);
        let line = Arc::new(Line {
            name: name.to_owned(),
            state: Mutex::new(LineState { connected, ..LineState::default() }),
            turned: Notify::new(),
            late: Mutex::default(),
            snare: Mutex::default(),
        });
        shared.server().0.lines.push(Arc::downgrade(&line));
        Self { shared, line }
    }

    /// Connections so far, as the client library counts them.
    pub(super) fn connected(&self) -> Turns<'_> {
        self.line.turns()
    }

    pub(super) async fn there(&self) {
        tokio::time::sleep(self.line.way(&self.shared)).await;
    }

    pub(super) async fn back(&self) {
        tokio::time::sleep(self.line.way(&self.shared)).await;
    }

    /// One request and its answer.
    pub(crate) async fn request(
        &self,
        what: &str,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, QueueError> {
        let deadline = Instant::now() + limit;
        let timed_out = || QueueError::TimedOut { what: what.to_owned(), waited: limit };
        match tokio::time::timeout_at(deadline, self.exchange(what, subject, headers, payload)).await {
            Ok(done) => done,
            Err(_) => Err(timed_out()),
        }
    }

    async fn exchange(
        &self,
        what: &str,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, QueueError> {
        self.line.leaves(subject);
        self.there().await;
        if !self.line.is_connected() {
            let late = Late { subject: subject.to_owned(), headers, payload };
            self.line.late.lock().unwrap_or_else(PoisonError::into_inner).push_back(late);
            // What comes back with the connection has nobody left who hears it: its inbox is not the one we wait on.
            return std::future::pending().await;
        }
        let effect = {
            let (mut server, now) = self.shared.server();
            let rates = server.rates;
            if server.random.strikes(rates.requests_lost) {
                Effect::Silence
            } else {
                let effect = server.arrive(subject, headers, &payload, now);
                if server.random.strikes(rates.answers_lost) { Effect::Silence } else { effect }
            }
        };
        let answer = match effect {
            Effect::Silence => return std::future::pending().await,
            Effect::Answered(payload) => Some(payload),
            Effect::NobodyThere => None,
            Effect::Passed(answer) => match answer.await {
                Ok(payload) => Some(payload),
                // Dropped without an answer: the asker waits in vain.
                Err(_) => return std::future::pending().await,
            },
        };
        self.back().await;
        if !self.line.is_connected() {
            return std::future::pending().await;
        }
        answer.map(reply).ok_or_else(|| QueueError::Unavailable { what: what.to_owned() })
    }

    /// One pull: a message, or nothing within the time; `None` too when it was interrupted, as the second says.
    pub(crate) async fn pull(
        &self,
        stream: &str,
        consumer: &str,
        wait: Duration,
        slack: Duration,
    ) -> Result<(Option<Message>, bool), QueueError> {
        let given_up = Instant::now() + wait + slack;
        let mut turns = self.connected();
        self.there().await;
        let asked = {
            let (mut server, now) = self.shared.server();
            let is_there = self.line.is_connected() && now.since >= server.leaderless_until;
            if is_there { Some(server.pull((stream, consumer), now.since.saturating_add(wait), now)) } else { None }
        };
        let Some(asked) = asked else {
            tokio::select! {
                biased;
                () = turns.changed() => return Ok((None, true)),
                () = tokio::time::sleep_until(given_up) => return Ok((None, false)),
            }
        };
        let Some((who, answered, stirred)) = asked else { return Ok((None, true)) };
        let _leaves = Leaves { connection: self, stream, consumer, who };
        let mut answered = std::pin::pin!(answered);
        let expires = Instant::now() + wait;
        let answer = loop {
            let mut notified = std::pin::pin!(stirred.notified());
            notified.as_mut().enable();
            let back_at = {
                let (mut server, now) = self.shared.server();
                server.serve(stream, now);
                server.consumer(stream, consumer).and_then(|one| one.next_return())
            };
            let back_at = back_at.filter(|at| *at < Duration::MAX).map(|at| self.shared.instant(at));
            tokio::select! {
                biased;
                answer = answered.as_mut() => break answer.unwrap_or(Answer::Interrupted),
                () = turns.changed() => return Ok((None, true)),
                () = notified => {}
                () = until(back_at) => {}
                () = tokio::time::sleep_until(expires) => {
                    self.back().await;
                    return Ok((None, false));
                }
            }
        };
        match answer {
            Answer::Message(message) => {
                // Whoever gives up here has a message on its way that nobody receives.
                self.back().await;
                if self.line.is_connected() { Ok((Some(message), false)) } else { Ok((None, true)) }
            }
            Answer::Interrupted => Ok((None, true)),
            Answer::Deleted => Err(QueueError::Missing { what: format!("consumer {consumer} of stream {stream}") }),
        }
    }

    /// Opens a feed of the last message of every key, or from a sequence on.
    pub(crate) async fn feed(&self, stream: &str, filter: &str, from: Option<u64>) -> Result<Feed, QueueError> {
        let what = || format!("watch {filter}");
        let open = async {
            self.there().await;
            if !self.line.is_connected() {
                return std::future::pending().await;
            }
            let opened = Feed::open(&self.shared, &self.line, stream, filter, from);
            self.back().await;
            opened
        };
        let limit = Duration::from_secs(5);
        match tokio::time::timeout(limit, open).await {
            Ok(opened) => opened,
            Err(_) => Err(QueueError::TimedOut { what: what(), waited: limit }),
        }
    }
}

/// A pull that is given up leaves the queue of those who wait.
struct Leaves<'a> {
    connection: &'a Connection,
    stream: &'a str,
    consumer: &'a str,
    who: u64,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let (mut server, _) = self.connection.shared.server();
        if let Some(consumer) = server.consumer(self.stream, self.consumer) {
            consumer.leave(self.who);
        }
    }
}
