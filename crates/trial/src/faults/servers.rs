//! The queue's servers: one, or three that hold three copies.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use streams::{
    nats::Nats,
    server::{Member, ServerOptions, ServerProcess},
};

use super::{diary::Diary, layout::free_port, program::End};

/// The signal that ends a server in no order.
const KILL: i32 = 9;

/// All of them.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<ServerProcess>,
    diary: Arc<Diary>,
}

impl Servers {
    /// One.
    pub(super) async fn one(dir: &Path, diary: &Arc<Diary>) -> anyhow::Result<Self> {
        let server = ServerProcess::start(options(&dir.join("1"))).await.context("start nats-server")?;
        let this = Self { servers: vec![server], diary: Arc::clone(diary) };
        this.note_start(0);
        Ok(this)
    }

    /// Three that hold three copies. Streams can be made once a majority has found each other.
    pub(super) async fn three(dir: &Path, diary: &Arc<Diary>) -> anyhow::Result<Self> {
        let routes = (0..3).map(|_| free_port()).collect::<anyhow::Result<Vec<u16>>>()?;
        let routes: Vec<SocketAddr> = routes.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();
        let mut servers = Vec::new();
        for (index, listen) in routes.iter().enumerate() {
            let member = Member { name: name(index), listen: *listen, routes: routes.clone() };
            let options = options(&dir.join(index.saturating_add(1).to_string()));
            servers.push(ServerProcess::start_member(options, member).await.context("start nats-server")?);
        }
        let this = Self { servers, diary: Arc::clone(diary) };
        (0..this.count()).for_each(|index| this.note_start(index));
        Ok(this)
    }

    /// Which of them leads a stream; the first where there is one alone.
    pub(super) async fn leader_of(&self, nats: &Nats, stream: &str) -> anyhow::Result<usize> {
        let rows = streams::report::stream_report(nats).await.context("list streams")?;
        let row = rows.into_iter().find(|row| row.stream == stream).context("no such stream")?;
        let Some(leader) = row.leader else { return Ok(0) };
        Ok(self.servers.iter().position(|server| server.name() == Some(leader.as_str())).unwrap_or(0))
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// Where they listen, separated by commas.
    pub(super) fn url(&self) -> String {
        self.servers.iter().map(ServerProcess::url).collect::<Vec<_>>().join(",")
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let address = |server: &ServerProcess| server.url().trim_start_matches("nats://").parse();
        let addresses: Result<_, std::net::AddrParseError> = self.servers.iter().map(address).collect();
        addresses.context("read a server's address")
    }

    fn note_start(&self, index: usize) {
        if let Some(pid) = self.servers.get(index).and_then(ServerProcess::pid) {
            self.diary.started(&name(index), pid);
        }
    }

    /// Kills one as a power switch would.
    pub(super) async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let server = self.servers.get_mut(index).context("no such server")?;
        let pid = server.pid();
        server.kill9().await.context("kill nats-server")?;
        if let Some(pid) = pid {
            self.diary.ended(&name(index), pid, &End::Killed(KILL), false);
        }
        Ok(())
    }

    /// Kills all of them at once.
    pub(super) async fn kill_all(&mut self) -> anyhow::Result<()> {
        for index in 0..self.count() {
            self.kill(index).await?;
        }
        Ok(())
    }

    /// Starts what is down, each with its store.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        for index in 0..self.count() {
            let Some(server) = self.servers.get_mut(index) else { continue };
            if server.pid().is_none() {
                server.restart().await.context("start nats-server again")?;
                self.note_start(index);
            }
        }
        Ok(())
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.stop().await.context("stop nats-server")?;
        }
        Ok(())
    }
}

fn name(index: usize) -> String {
    format!("nats-{}", index.saturating_add(1))
}

fn options(dir: &Path) -> ServerOptions {
    ServerOptions { dir: dir.to_owned(), host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: None, die_with_parent: false }
}
