//! Who serves requests: what arrives on a pattern, and the answer to it.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    connection::Connection,
    server::{Asked, Service},
};

/// Requests that arrive for one who serves.
#[derive(Debug)]
pub(crate) struct Subscription {
    calls: mpsc::UnboundedReceiver<Asked>,
    connection: Connection,
    id: u64,
}

/// One such request, to be answered.
#[derive(Debug)]
pub(crate) struct Incoming {
    asked: Asked,
    connection: Connection,
}

impl Connection {
    /// Answers on a pattern from now on.
    pub(crate) fn serve(&self, pattern: &str) -> Subscription {
        let (sender, calls) = mpsc::unbounded_channel();
        let (mut server, _) = self.shared.server();
        let id = server.number();
        let line = self.line.name.clone();
        server.services.push(Service { id, pattern: pattern.to_owned(), line, calls: sender });
        Subscription { calls, connection: self.clone(), id }
    }
}

impl Subscription {
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        let asked = loop {
            let mut turns = self.connection.line.turns();
            if self.connection.line.is_closed() {
                return None;
            }
            tokio::select! {
                biased;
                () = turns.changed() => {}
                asked = self.calls.recv() => break asked?,
            }
        };
        self.connection.back().await;
        Some(Incoming { asked, connection: self.connection.clone() })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (mut server, _) = self.connection.shared.server();
        server.services.retain(|service| service.id != self.id);
    }
}

impl Incoming {
    pub(crate) fn subject(&self) -> &str {
        &self.asked.subject
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.asked.payload
    }

    pub(crate) async fn respond(self, payload: Bytes) {
        self.connection.there().await;
        if self.connection.line.is_connected() {
            // Whoever asked may have given up.
            let _gone = self.asked.reply.send(payload);
        }
    }
}
