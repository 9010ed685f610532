//! Three real servers for a test, each of which can be killed and started again.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use tempfile::TempDir;

use super::{CONNECT_LIMIT, or_panic, wait_for};
use crate::{
    layout::{self, LayoutOptions, ensure},
    nats::{Nats, NatsConfig},
    server::{Member, ServerOptions, ServerProcess},
};

/// How many there are.
const SERVERS: usize = 3;
/// How long they may take to find each other, and a stream to have a leader again.
const ELECTION_LIMIT: Duration = Duration::from_secs(60);

/// Three servers of the test's own, with `sync_interval: always`. They are killed when this is dropped.
#[derive(Debug)]
pub struct TestCluster {
    // Dropped first: the servers must be gone before their folders are.
    servers: Vec<ServerProcess>,
    _dirs: Vec<TempDir>,
}

impl TestCluster {
    /// Starts three, and waits until they have a leader.
    pub async fn start() -> Self {
        let routes = free_addresses();
        let (mut servers, mut dirs) = (Vec::new(), Vec::new());
        for (index, listen) in routes.iter().enumerate() {
            let dir = or_panic("create a folder for nats-server", TempDir::with_prefix("sealstream-nats-"));
            let options = ServerOptions {
                dir: dir.path().to_owned(),
                host: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: None,
                die_with_parent: true,
            };
            let member = Member { name: format!("queue-{}", index + 1), listen: *listen, routes: routes.clone() };
            servers.push(or_panic("start nats-server", ServerProcess::start_member(options, member).await));
            dirs.push(dir);
        }
        let cluster = Self { servers, _dirs: dirs };
        let nats = cluster.connect().await;
        wait_for(ELECTION_LIMIT, || async {
            let account: Result<serde_json::Value, _> = nats.api("account", "INFO", &crate::request::Plain {}).await;
            account.map(drop).map_err(|e| e.to_string())
        })
        .await;
        cluster
    }

    /// Where they listen, separated by commas.
    #[must_use]
    pub fn url(&self) -> String {
        self.servers.iter().map(ServerProcess::url).collect::<Vec<_>>().join(",")
    }

    /// A connection to any of them.
    pub async fn connect(&self) -> Nats {
        let config = NatsConfig { url: self.url(), name: "test".to_owned(), connect_timeout: CONNECT_LIMIT };
        or_panic("connect to nats-server", Nats::connect(&config).await)
    }

    /// A connection to any of them, with streams, buckets and consumers in place, in three copies each.
    pub async fn connect_with_layout(&self, ack_wait: Duration) -> Nats {
        let nats = self.connect().await;
        or_panic("create the layout", ensure(&nats, &LayoutOptions { replicas: SERVERS, ack_wait }).await);
        nats
    }

    /// Which of them leads a stream.
    pub async fn leader_of(&self, nats: &Nats, stream: &str) -> usize {
        wait_for(ELECTION_LIMIT, || async {
            let info = layout::stream_info(nats, stream).await.map_err(|e| e.to_string())?;
            let leader = info.cluster.and_then(|cluster| cluster.leader);
            let index = self.servers.iter().position(|server| server.name() == leader.as_deref());
            index.filter(|_| leader.is_some()).ok_or_else(|| format!("stream {stream} has no leader"))
        })
        .await
    }

    /// Waits until every copy of a stream is as far as its leader.
    pub async fn until_whole(&self, nats: &Nats, stream: &str) {
        wait_for(ELECTION_LIMIT, || async {
            let info = layout::stream_info(nats, stream).await.map_err(|e| e.to_string())?;
            let replicas = info.cluster.map(|cluster| cluster.replicas).unwrap_or_default();
            let behind: Vec<&str> =
                replicas.iter().filter(|peer| !peer.current || peer.offline).map(|peer| peer.name.as_str()).collect();
            if replicas.len() + 1 == SERVERS && behind.is_empty() { Ok(()) } else { Err(format!("{replicas:?}")) }
        })
        .await;
    }

    /// Kills one as a power switch would.
    pub async fn kill9(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index) {
            or_panic("kill nats-server", server.kill9().await);
        }
    }

    /// Starts one again on the same ports and store.
    pub async fn restart(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index) {
            or_panic("restart nats-server", server.restart().await);
        }
    }
}

/// Addresses that were free a moment ago, all different.
fn free_addresses() -> Vec<SocketAddr> {
    let bound: Vec<TcpListener> =
        (0..SERVERS).map(|_| or_panic("find a free port", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))).collect();
    bound.iter().map(|listener| or_panic("find a free port", listener.local_addr())).collect()
}
