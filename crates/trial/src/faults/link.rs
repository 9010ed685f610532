//! The line between one program and the queue: a TCP proxy that cuts, stalls, slows, resets, and loses single messages.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use super::wire::{self, Frame};

/// Results that were published through a link and are remembered, for a replay.
const RESULTS_MAX: usize = 8;
/// A slow line passes so many bytes at a time.
const SLOW_BYTES: usize = 512;
const SLOW_PAUSE: Duration = Duration::from_millis(4);
const RESULTS: &str = "res.";
const LEASES: &str = "$KV.LEASES.";

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Everything passes.
    Good,
    /// Connections are closed, new ones too.
    Cut,
    /// Connections stay and nothing passes: a cable that was pulled.
    Silent,
    /// Everything passes in small pieces.
    Slow,
}

/// One message to be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    /// What is published under this prefix arrives; its answer does not.
    Answer(&'static str),
    /// What is published under this prefix does not arrive.
    Message(&'static str),
}

#[derive(Debug, Default)]
struct Seen {
    /// What is to be lost next.
    loss: Option<Loss>,
    /// Answers on these inboxes are lost.
    doomed: BTreeSet<String>,
    /// Subjects of what was lost.
    lost: Vec<String>,
    /// Lease keys this program wrote, with the holder's name it wrote there.
    holders: BTreeMap<String, String>,
    results: VecDeque<(String, Vec<u8>)>,
}

/// A proxy before the queue for one program.
#[derive(Debug, Clone)]
pub(super) struct Link {
    address: SocketAddr,
    line: watch::Sender<Line>,
    resets: watch::Sender<u64>,
    seen: Arc<Mutex<Seen>>,
}

impl Link {
    /// Listens; [`Link::serve`] does the work.
    pub(super) async fn open() -> anyhow::Result<(Self, TcpListener)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a proxy")?;
        let address = listener.local_addr().context("read a proxy's address")?;
        let (line, _) = watch::channel(Line::Good);
        let (resets, _) = watch::channel(0);
        Ok((Self { address, line, resets, seen: Arc::default() }, listener))
    }

    /// What the program connects to.
    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Changes the line, for connections that are and that come.
    pub(super) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Resets every connection; new ones pass.
    pub(super) fn reset(&self) {
        self.resets.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Has one message lost, the next one that fits.
    pub(super) fn lose(&self, loss: Loss) {
        let mut seen = self.seen();
        seen.lost.clear();
        seen.loss = Some(loss);
    }

    /// Takes the order to lose something back, and says what was lost.
    pub(super) fn lost(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().lost)
    }

    /// Nothing more is to be lost.
    pub(super) fn keep_all(&self) {
        self.seen().loss = None;
    }

    /// The name under which this program last wrote a lease.
    pub(super) fn holds_as(&self, lease: &str) -> Option<String> {
        self.seen().holders.get(lease).cloned()
    }

    /// A result that was published through this link.
    pub(super) fn old_result(&self) -> Option<(String, Vec<u8>)> {
        self.seen().results.front().cloned()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves connections to one of `servers` until the trial ends.
    pub(super) async fn serve(self, listener: TcpListener, servers: Vec<SocketAddr>) {
        let mut connections = JoinSet::new();
        for turn in 0_usize.. {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((client, _)) = accepted else { continue };
            let Some(server) = servers.get(turn.checked_rem(servers.len()).unwrap_or(0)).copied() else { return };
            connections.spawn(self.clone().carry(client, server));
        }
    }

    async fn carry(self, client: TcpStream, server: SocketAddr) {
        let mut line = self.line.subscribe();
        let mut resets = self.resets.subscribe();
        resets.mark_unchanged();
        if *line.borrow_and_update() == Line::Cut {
            return;
        }
        let Ok(server) = TcpStream::connect(server).await else { return };
        // Small frames, each of them waited for.
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            _ = self.pump(from_client, to_server, Self::is_passed_up) => {}
            _ = self.pump(from_server, to_client, Self::is_passed_down) => {}
            _ = line.wait_for(|line| *line == Line::Cut) => {}
            _ = resets.changed() => {}
        }
    }

    /// Passes frames one way.
    async fn pump(
        &self,
        from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        passes: fn(&Self, &Frame) -> bool,
    ) -> std::io::Result<()> {
        let mut from = BufReader::new(from);
        let mut line = self.line.subscribe();
        while let Some(frame) = wire::read(&mut from).await? {
            if line.wait_for(|line| *line != Line::Silent).await.is_err() || !passes(self, &frame) {
                continue;
            }
            if *self.line.borrow() == Line::Slow {
                for piece in frame.bytes.chunks(SLOW_BYTES) {
                    to.write_all(piece).await?;
                    tokio::time::sleep(SLOW_PAUSE).await;
                }
            } else {
                to.write_all(&frame.bytes).await?;
            }
        }
        Ok(())
    }

    /// Looks at what the program says, and whether the queue hears it.
    fn is_passed_up(&self, frame: &Frame) -> bool {
        let Some(message) = &frame.message else { return true };
        let mut seen = self.seen();
        if let Some(lease) = message.subject.strip_prefix(LEASES)
            && let Some(holder) = holder_in(frame.payload())
        {
            seen.holders.insert(lease.to_owned(), holder);
        }
        if message.subject.starts_with(RESULTS) {
            if seen.results.len() >= RESULTS_MAX {
                seen.results.pop_front();
            }
            seen.results.push_back((message.subject.clone(), frame.payload().to_vec()));
        }
        match seen.loss.clone() {
            Some(Loss::Message(prefix)) if message.subject.starts_with(prefix) => {
                seen.loss = None;
                seen.lost.push(message.subject.clone());
                false
            }
            Some(Loss::Answer(prefix)) if message.subject.starts_with(prefix) => {
                if let Some(reply) = &message.reply {
                    seen.loss = None;
                    seen.doomed.insert(reply.clone());
                    seen.lost.push(message.subject.clone());
                }
                true
            }
            _ => true,
        }
    }

    /// Whether the program hears what the queue says.
    fn is_passed_down(&self, frame: &Frame) -> bool {
        let Some(message) = &frame.message else { return true };
        !self.seen().doomed.remove(&message.subject)
    }
}

/// The holder's name in a lease's text.
fn holder_in(payload: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    value.get("holder")?.as_str().map(str::to_owned)
}
