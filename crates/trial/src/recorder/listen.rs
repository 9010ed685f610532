//! Listening to a work queue.

use std::sync::atomic::Ordering;

use anyhow::Context as _;
use futures::{StreamExt as _, stream::select_all};

use super::{LOOK_EVERY, Recorder, follow::headers};
use crate::evidence::{Body, QueueLine, Stored};

impl Recorder {
    /// Listens to what is published on a work queue's subjects, until told to stop.
    pub(super) async fn listen(&self, name: &str, subjects: Vec<String>) -> anyhow::Result<()> {
        let client = self.inner.nats.client();
        let mut heard = Vec::new();
        for subject in subjects {
            let words = format!("listen to {subject}");
            heard.push(client.subscribe(subject).await.context(words)?);
        }
        let mut heard = select_all(heard);
        let connects = client.statistics();
        let mut connected = 0;
        let mut swept = 0;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return Ok(()),
                message = heard.next() => {
                    let Some(message) = message else { return Ok(()) };
                    self.note(&QueueLine::Published {
                        at: self.now(),
                        subject: message.subject.to_string(),
                        headers: headers(message.headers.as_ref()),
                        body: Body::of(&message.payload),
                    })?;
                }
                _ = look.tick() => {
                    let now = connects.connects.load(Ordering::Relaxed);
                    if now != connected && self.sweep(name, &mut swept).await? {
                        connected = now;
                    }
                }
            }
        }
    }

    /// Reads what is in the queue and was perhaps not heard, without taking it; whether that could be done.
    async fn sweep(&self, name: &str, swept: &mut u64) -> anyhow::Result<bool> {
        let Ok(stream) = self.inner.nats.jetstream().get_stream(name).await else { return Ok(false) };
        let state = stream.cached_info().state.clone();
        if state.last_sequence < *swept {
            *swept = 0;
        }
        for seq in state.first_sequence.max(*swept + 1)..=state.last_sequence {
            // One that was taken meanwhile is not there.
            let Ok(message) = stream.get_raw_message(seq).await else { continue };
            self.note(&QueueLine::Stored(Stored {
                at: self.now(),
                stored_us: u64::try_from(message.time.unix_timestamp_nanos() / 1_000).unwrap_or(0),
                stream: name.to_owned(),
                seq,
                subject: message.subject.to_string(),
                headers: headers(Some(&message.headers)),
                body: Body::of(&message.payload),
            }))?;
            *swept = seq;
        }
        Ok(true)
    }
}
