//! The server's state, and what a request does to it at the moment it arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Happened, Latency, Observer, Random, Rates, Weakness, api,
    connection::Line,
    consumer::{Answer, Consumer},
    stream::{Aged, Stream, is_marker},
};

/// A moment of the server's, and what its wall clock showed at its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(super) since: Duration,
    pub(super) epoch_ms: u64,
}

impl Time {
    /// Another moment of the same server.
    pub(super) const fn at(self, since: Duration) -> Self {
        Self { since, epoch_ms: self.epoch_ms }
    }

    pub(super) fn unix_ms(self) -> u64 {
        self.epoch_ms.saturating_add(u64::try_from(self.since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn unix_nanos(self) -> u128 {
        u128::from(self.epoch_ms) * 1_000_000 + self.since.as_nanos()
    }

    pub(super) fn date(self) -> time::OffsetDateTime {
        let nanos = i128::try_from(self.unix_nanos()).unwrap_or(i128::MAX);
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    }
}

/// A request that somebody serves.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    pub(super) reply: oneshot::Sender<Bytes>,
}

/// Who answers on `ctl.…` subjects.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) id: u64,
    pub(super) pattern: String,
    pub(super) line: String,
    pub(super) calls: mpsc::UnboundedSender<Asked>,
}

/// What a request meets at the server.
pub(super) enum Effect {
    /// This answer is on its way back.
    Answered(Bytes),
    /// Nobody is there.
    NobodyThere,
    /// Somebody got it and may answer.
    Passed(oneshot::Receiver<Bytes>),
    /// Nothing will ever come.
    Silence,
}

pub(crate) struct Server {
    pub(super) streams: BTreeMap<String, (Stream, Vec<Consumer>)>,
    pub(super) changed: BTreeMap<String, Arc<Notify>>,
    pub(super) objects: BTreeMap<String, Bytes>,
    pub(super) services: Vec<Service>,
    pub(super) lines: Vec<Weak<Line>>,
    pub(super) cut: BTreeSet<String>,
    pub(super) up: bool,
    pub(super) leaderless_until: Duration,
    pub(super) rates: Rates,
    pub(super) weakness: Weakness,
    pub(super) latency: Latency,
    pub(super) random: Random,
    pub(super) observer: Option<Observer>,
    numbers: u64,
}

impl Server {
    pub(super) fn new(random: Random) -> Self {
        Self {
            streams: BTreeMap::new(),
            changed: BTreeMap::new(),
            objects: BTreeMap::new(),
            services: Vec::new(),
            lines: Vec::new(),
            cut: BTreeSet::new(),
            up: true,
            leaderless_until: Duration::ZERO,
            rates: Rates::default(),
            weakness: Weakness::default(),
            latency: Latency::default(),
            random,
            observer: None,
            numbers: 0,
        }
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn reaches(&self, line: &str) -> bool {
        self.up && !self.cut.contains(line)
    }

    fn tell(&mut self, now: Time, happened: &Happened<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(now.unix_ms(), happened);
        }
    }

    /// Told when anything in a stream changes.
    pub(super) fn changed(&mut self, stream: &str) -> Arc<Notify> {
        Arc::clone(self.changed.entry(stream.to_owned()).or_default())
    }

    /// Does what time alone does.
    pub(super) fn advance(&mut self, now: Time) {
        let due = |(stream, _): &(Stream, Vec<Consumer>)| stream.next_expiry().is_some_and(|at| at <= now.since);
        let due: Vec<String> =
            self.streams.iter().filter(|(_, held)| due(held)).map(|(name, _)| name.clone()).collect();
        for name in due {
            let Some((stream, consumers)) = self.streams.get_mut(&name) else { continue };
            for aged in stream.age(now.since) {
                match aged {
                    Aged::Gone { sequence } => consumers.iter_mut().for_each(|consumer| consumer.drop_out(sequence)),
                    Aged::Marker { sequence, subject } => {
                        let payload: &[u8] = &[];
                        let happened =
                            Happened::Stored { stream: &name, sequence, subject: &subject, payload, is_marker: true };
                        if let Some(observer) = &mut self.observer {
                            observer(now.unix_ms(), &happened);
                        }
                    }
                }
            }
            self.changed(&name).notify_waiters();
        }
    }

    /// A request arrives.
    pub(super) fn arrive(&mut self, subject: &str, headers: Option<HeaderMap>, payload: &Bytes, now: Time) -> Effect {
        if now.since < self.leaderless_until && subject.starts_with('$') | !subject.starts_with("ctl.") {
            // The first to ask hear nothing, later ones that nobody is there.
            return if self.random.below(4) == 0 { Effect::Silence } else { Effect::NobodyThere };
        }
        if let Some(verb) = subject.strip_prefix("$JS.API.") {
            return Effect::Answered(api::answer(self, verb, payload, now));
        }
        if let Some(reply) = subject.strip_prefix("$JS.ACK.") {
            return self.verdict(reply, payload, now);
        }
        let owner = self.streams.iter().find(|(_, (stream, _))| stream.takes(subject)).map(|(name, _)| name.clone());
        if let Some(name) = owner {
            return self.publish(&name, subject, headers, payload, now);
        }
        self.pass(subject, payload)
    }

    fn publish(&mut self, name: &str, subject: &str, headers: Option<HeaderMap>, payload: &Bytes, now: Time) -> Effect {
        let marker = is_marker(headers.as_ref());
        if headers.as_ref().is_some_and(|headers| headers.get("Nats-Expected-Last-Subject-Sequence").is_some())
            && self.random.strikes(self.rates.unsure)
        {
            return Effect::Answered(api::refused(&(503, 10164, "wrong last sequence".to_owned())));
        }
        let is_in = |names: &[String]| names.iter().any(|weak| weak == name);
        let (unfenced, forgetful) = (is_in(&self.weakness.unfenced), is_in(&self.weakness.forgetful));
        let headers = headers.map(|headers| if unfenced { without_expectation(&headers) } else { headers });
        let Some((stream, consumers)) = self.streams.get_mut(name) else { return Effect::NobodyThere };
        if forgetful {
            return Effect::Answered(serde_json::json!({ "stream": name, "seq": stream.last + 1 }).to_string().into());
        }
        match stream.store(subject, headers, payload.clone(), now) {
            Err(refused) => Effect::Answered(api::refused(&refused)),
            Ok((sequence, pushed_out)) => {
                for old in pushed_out {
                    consumers.iter_mut().for_each(|consumer| consumer.drop_out(old));
                }
                self.tell(now, &Happened::Stored { stream: name, sequence, subject, payload, is_marker: marker });
                self.stir(name, now);
                Effect::Answered(serde_json::json!({ "stream": name, "seq": sequence }).to_string().into())
            }
        }
    }

    /// Something changed in a stream: those who wait for messages get them, those who watch look.
    pub(super) fn stir(&mut self, name: &str, now: Time) {
        self.serve(name, now);
        self.changed(name).notify_waiters();
    }

    pub(super) fn serve(&mut self, name: &str, now: Time) {
        if !self.up || now.since < self.leaderless_until {
            return;
        }
        let Some((stream, consumers)) = self.streams.get_mut(name) else { return };
        let mut handed_out = Vec::new();
        for consumer in consumers {
            let handed = consumer.serve(stream, now);
            if !handed.is_empty() && self.random.strikes(self.rates.delivered_twice) {
                for one in &handed {
                    consumer.give_back(one.sequence, u64::MAX, None, now.since);
                }
            }
            handed_out.extend(handed);
        }
        for one in handed_out {
            let (sequence, subject, times) = (one.sequence, one.subject.as_str(), one.times);
            self.tell(now, &Happened::Delivered { stream: name, sequence, subject, times });
        }
    }

    /// An acknowledgement arrives. Whoever sends it: nobody is fenced.
    fn verdict(&mut self, reply: &str, payload: &Bytes, now: Time) -> Effect {
        let mut tokens = reply.split('.');
        let (Some(name), Some(consumer_name)) = (tokens.next(), tokens.next()) else { return Effect::NobodyThere };
        let mut number = || tokens.next().and_then(|token| token.parse::<u64>().ok());
        let (Some(_), Some(sequence), Some(delivery)) = (number(), number(), number()) else {
            return Effect::NobodyThere;
        };
        let Some((stream, consumers)) = self.streams.get_mut(name) else { return Effect::NobodyThere };
        let Some(consumer) = consumers.iter_mut().find(|consumer| consumer.name == consumer_name) else {
            return Effect::NobodyThere;
        };
        consumer.take_back(now.since);
        let words = String::from_utf8_lossy(payload).into_owned();
        let (verdict, rest) = words.split_once(' ').unwrap_or((&words, ""));
        match verdict {
            "+WPI" => consumer.prolong(sequence, now.since),
            "-NAK" => {
                let delay = serde_json::from_str::<serde_json::Value>(rest).ok();
                let delay = delay.and_then(|words| words.get("delay").and_then(serde_json::Value::as_u64));
                consumer.give_back(sequence, delivery, delay.map(Duration::from_nanos), now.since);
                self.stir(name, now);
            }
            _ => {
                consumer.drop_out(sequence);
                let gone = if stream.is_work_queue() { stream.remove(sequence) } else { None };
                if gone.is_some() {
                    self.tell(now, &Happened::Settled { stream: name, sequence, verdict });
                }
                self.stir(name, now);
            }
        }
        Effect::Answered(Bytes::new())
    }

    /// Somebody serves the subject, or nobody does.
    fn pass(&mut self, subject: &str, payload: &Bytes) -> Effect {
        self.services.retain(|service| !service.calls.is_closed());
        let able: Vec<usize> = self
            .services
            .iter()
            .enumerate()
            .filter(|(_, service)| matches(&service.pattern, subject))
            .map(|(index, _)| index)
            .collect();
        let chosen = self.random.pick(&able).copied();
        let Some(service) = chosen.and_then(|index| self.services.get(index)) else { return Effect::NobodyThere };
        if !self.reaches(&service.line) {
            return Effect::Silence;
        }
        let (reply, answer) = oneshot::channel();
        let asked = Asked { subject: subject.to_owned(), payload: payload.clone(), reply };
        match service.calls.send(asked) {
            Ok(()) => Effect::Passed(answer),
            Err(_) => Effect::NobodyThere,
        }
    }

    /// A pull begins to wait.
    pub(super) fn pull(
        &mut self,
        (stream, consumer): (&str, &str),
        until: Duration,
        now: Time,
    ) -> Option<(u64, oneshot::Receiver<Answer>, Arc<Notify>)> {
        let who = self.number();
        let (_, consumers) = self.streams.get_mut(stream)?;
        let found = consumers.iter_mut().find(|one| one.name == consumer)?;
        let (answer, answered) = oneshot::channel();
        found.wait(who, until, answer);
        let stirred = Arc::clone(&found.stirred);
        self.serve(stream, now);
        Some((who, answered, stirred))
    }

    pub(super) fn consumer(&mut self, stream: &str, consumer: &str) -> Option<&mut Consumer> {
        self.streams.get_mut(stream)?.1.iter_mut().find(|one| one.name == consumer)
    }

    pub(super) fn interrupt_pulls(&mut self) {
        let all = self.streams.values_mut().flat_map(|(_, consumers)| consumers);
        all.for_each(|consumer| consumer.end_pulls(|| Answer::Interrupted));
    }

    /// Everything that was stored is gone, and every watch looks.
    pub(super) fn wipe(&mut self) {
        let consumers = self.streams.values_mut().flat_map(|(_, consumers)| consumers);
        consumers.for_each(|consumer| consumer.end_pulls(|| Answer::Deleted));
        self.streams.clear();
        self.objects.clear();
        self.changed.values().for_each(|changed| changed.notify_waiters());
        if let Some(observer) = &mut self.observer {
            observer(0, &Happened::Wiped);
        }
    }

    /// What was delivered last may be forgotten by a server that was killed: it is then new again.
    pub(super) fn forget_last_deliveries(&mut self, now: Time) {
        let names: Vec<String> = self.streams.keys().cloned().collect();
        for name in &names {
            let Some((_, consumers)) = self.streams.get_mut(name) else { continue };
            for consumer in consumers {
                for sequence in consumer.last_out() {
                    if self.random.below(2) == 0 {
                        break;
                    }
                    consumer.forget(sequence);
                }
            }
            self.stir(name, now);
        }
    }
}

fn without_expectation(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        if name.to_string() != "Nats-Expected-Last-Subject-Sequence" {
            values.iter().for_each(|value| kept.append(name.clone(), value.clone()));
        }
    }
    kept
}

/// Whether a subject matches a pattern with `*` and `>`.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// An answer without a body.
pub(super) fn reply(payload: Bytes) -> Message {
    Message {
        subject: "_INBOX.model".into(),
        reply: None,
        length: payload.len(),
        payload,
        headers: None,
        status: None,
        description: None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_the_server_does() {
        for (pattern, subject) in [("a.>", "a.b"), ("a.>", "a.b.c"), ("a.*.c", "a.b.c"), (">", "a"), ("a.b", "a.b")] {
            assert!(matches(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [("a.>", "a"), ("a.*", "a.b.c"), ("a.b", "a.b.c"), ("a.*.c", "a.b"), ("b", "a")] {
            assert!(!matches(pattern, subject), "{pattern} {subject}");
        }
    }
}
