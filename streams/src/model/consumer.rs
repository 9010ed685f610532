//! One durable consumer: who waits, what is out, what comes back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_nats::{Message, jetstream::consumer::Config};
use tokio::sync::{Notify, oneshot};

use super::{
    server::{Time, matches},
    stream::Stream,
};

/// A delivered message.
#[derive(Debug, Clone, Copy)]
struct Out {
    /// The consumer's own count at its first delivery.
    first: u64,
    back_at: Duration,
}

/// How a pull was answered.
#[derive(Debug)]
pub(super) enum Answer {
    Message(Message),
    Interrupted,
    Deleted,
}

#[derive(Debug)]
struct Waiting {
    who: u64,
    until: Duration,
    answer: oneshot::Sender<Answer>,
}

/// What was handed out: for the observer.
#[derive(Debug)]
pub(super) struct HandedOut {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) times: u64,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) created: Duration,
    /// The next sequence to look at.
    cursor: u64,
    /// Deliveries so far.
    delivered: u64,
    out: BTreeMap<u64, Out>,
    back: VecDeque<u64>,
    times: BTreeMap<u64, u64>,
    floor: (u64, u64),
    waiting: VecDeque<Waiting>,
    /// Told when a waiting pull should look at its timer again.
    pub(super) stirred: Arc<Notify>,
}

impl Consumer {
    pub(super) fn new(name: &str, config: Config, created: Duration) -> Self {
        Self {
            name: name.to_owned(),
            config,
            created,
            cursor: 1,
            delivered: 0,
            out: BTreeMap::new(),
            back: VecDeque::new(),
            times: BTreeMap::new(),
            floor: (0, 0),
            waiting: VecDeque::new(),
            stirred: Arc::default(),
        }
    }

    pub(super) fn wait(&mut self, who: u64, until: Duration, answer: oneshot::Sender<Answer>) {
        self.waiting.push_back(Waiting { who, until, answer });
    }

    pub(super) fn leave(&mut self, who: u64) {
        self.waiting.retain(|waiting| waiting.who != who);
    }

    pub(super) fn end_pulls(&mut self, with: impl Fn() -> Answer) {
        for waiting in self.waiting.drain(..) {
            // Whoever gave up does not mind.
            let _gone = waiting.answer.send(with());
        }
    }

    /// When a message comes back next, if none is acknowledged before.
    pub(super) fn next_return(&self) -> Option<Duration> {
        self.out.values().map(|out| out.back_at).min()
    }

    /// Those silent for too long come back, whether somebody waits or not.
    pub(super) fn take_back(&mut self, now: Duration) {
        let due = self.out.iter().filter(|(_, out)| out.back_at <= now);
        let due: Vec<u64> = due.map(|(sequence, _)| *sequence).filter(|s| !self.back.contains(s)).collect();
        for sequence in due {
            self.back.push_back(sequence);
            if let Some(out) = self.out.get_mut(&sequence) {
                // It waits in the queue of returns now; its timer runs again from its next delivery.
                out.back_at = Duration::MAX;
            }
        }
    }

    /// Hands out what there is to those who wait.
    pub(super) fn serve(&mut self, stream: &Stream, now: Time) -> Vec<HandedOut> {
        self.take_back(now.since);
        self.waiting.retain(|waiting| waiting.until > now.since && !waiting.answer.is_closed());
        let mut handed_out = Vec::new();
        while !self.waiting.is_empty() {
            let Some(sequence) = self.next(stream) else { break };
            let (Some(stored), Some(waiting)) = (stream.messages.get(&sequence), self.waiting.pop_front()) else {
                break;
            };
            self.delivered += 1;
            let times = self.times.entry(sequence).and_modify(|times| *times += 1).or_insert(1);
            let times = *times;
            let back_at = now.since.saturating_add(self.config.ack_wait);
            let first = self.delivered;
            self.out.entry(sequence).and_modify(|out| out.back_at = back_at).or_insert(Out { first, back_at });
            let reply = format!(
                "$JS.ACK.{}.{}.{times}.{sequence}.{}.{}.{}",
                stream.config.name,
                self.name,
                self.delivered,
                now.at(stored.at).unix_nanos(),
                self.pending(stream)
            );
            let message = Message {
                subject: stored.subject.as_str().into(),
                reply: Some(reply.into()),
                payload: stored.payload.clone(),
                headers: stored.headers.clone(),
                status: None,
                description: None,
                length: stored.payload.len(),
            };
            // One who gave up at this very moment leaves the message on its way to nobody.
            let _gone = waiting.answer.send(Answer::Message(message));
            handed_out.push(HandedOut { sequence, subject: stored.subject.clone(), times });
        }
        if !handed_out.is_empty() {
            self.stirred.notify_waiters();
        }
        handed_out
    }

    fn next(&mut self, stream: &Stream) -> Option<u64> {
        while let Some(sequence) = self.back.pop_front() {
            if stream.messages.contains_key(&sequence) {
                return Some(sequence);
            }
            self.drop_out(sequence);
        }
        let found = stream.messages.range(self.cursor..).find(|(_, stored)| self.wants(&stored.subject));
        match found {
            Some((sequence, _)) => {
                self.cursor = sequence + 1;
                Some(*sequence)
            }
            None => {
                self.cursor = self.cursor.max(stream.last + 1);
                None
            }
        }
    }

    fn wants(&self, subject: &str) -> bool {
        self.config.filter_subject.is_empty() || matches(&self.config.filter_subject, subject)
    }

    /// Messages not delivered yet.
    pub(super) fn pending(&self, stream: &Stream) -> usize {
        stream.messages.range(self.cursor..).filter(|(_, stored)| self.wants(&stored.subject)).count()
    }

    pub(super) fn out(&self) -> usize {
        self.out.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn redelivered(&self) -> usize {
        self.times.values().filter(|times| **times > 1).count()
    }

    /// Deliveries and the last sequence handed out.
    pub(super) const fn delivered(&self) -> (u64, u64) {
        (self.delivered, self.cursor.saturating_sub(1))
    }

    pub(super) const fn floor(&self) -> (u64, u64) {
        self.floor
    }

    /// The message is gone, or done with.
    pub(super) fn drop_out(&mut self, sequence: u64) {
        self.times.remove(&sequence);
        self.back.retain(|back| *back != sequence);
        let first = self.out.remove(&sequence).map(|out| out.first);
        if self.out.is_empty() {
            self.floor = (self.delivered, self.cursor.saturating_sub(1));
        } else if first == Some(self.floor.0 + 1) {
            let next = self.out.range(sequence + 1..).next().or_else(|| self.out.iter().next());
            if let Some((next, out)) = next {
                self.floor = (out.first.saturating_sub(1), next.saturating_sub(1));
            }
        }
    }

    /// Its holder lives.
    pub(super) fn prolong(&mut self, sequence: u64, now: Duration) {
        let back_at = now.saturating_add(self.config.ack_wait);
        if let Some(out) = self.out.get_mut(&sequence).filter(|_| !self.back.contains(&sequence)) {
            out.back_at = back_at;
        }
        self.stirred.notify_waiters();
    }

    /// Given back, at once or later. One that a newer holder has comes back too: nobody is fenced.
    pub(super) fn give_back(&mut self, sequence: u64, delivery: u64, delay: Option<Duration>, now: Duration) {
        if delivery <= self.floor.0 || delivery > self.delivered {
            return;
        }
        match delay {
            Some(delay) => {
                // One that waits to be handed out again waits on, for its delay.
                self.back.retain(|back| *back != sequence);
                if let Some(out) = self.out.get_mut(&sequence) {
                    out.back_at = now.saturating_add(delay);
                }
            }
            None if self.back.contains(&sequence) => {}
            None => {
                self.back.push_back(sequence);
                if let Some(out) = self.out.get_mut(&sequence) {
                    out.back_at = Duration::MAX;
                }
            }
        }
        self.stirred.notify_waiters();
    }

    /// A server that was killed may have forgotten what it delivered last.
    pub(super) fn forget(&mut self, sequence: u64) {
        self.out.remove(&sequence);
        self.times.remove(&sequence);
        self.back.retain(|back| *back != sequence);
        self.cursor = self.cursor.min(sequence);
    }

    /// The last sequences handed out and not acknowledged, in reverse.
    pub(super) fn last_out(&self) -> Vec<u64> {
        self.out.keys().rev().copied().collect()
    }
}
