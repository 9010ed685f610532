//! The queue's server: which version is good enough, where to get it, and how to run one.
//!
//! For `coordinator dev`, for tests, and for nothing else: a cluster's servers are run by systemd. The server gets
//! the repository's `nats.conf` with another address and folder, so that what is tested is what is shipped.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

mod conf;
mod install;
mod ports;
mod version;

pub use install::find_or_install;
pub use version::{TooOld, Version, check_version};

/// The version this system is tested with, and the one it installs.
pub const PINNED: &str = "2.15.1";

/// How long a server may take to start; one million open tasks take about a second after a crash.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to stop in order before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a starting or stopping server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How much of the end of its log an error quotes.
const LOG_LINES: usize = 5;

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its folder: configuration, store, log.
    pub dir: PathBuf,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port, or one that is free.
    pub port: Option<u16>,
    /// Whether the kernel kills the server when the thread that started it ends, however it ends: for tests, and
    /// where `setpriv` (util-linux) is installed.
    pub die_with_parent: bool,
}

/// Which of several servers one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, unique among them.
    pub name: String,
    /// Where it listens for the others: known before it starts, since the others are told.
    pub listen: SocketAddr,
    /// Where all of them listen, itself included.
    pub routes: Vec<SocketAddr>,
}

/// A server could not be found, installed or started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error("port {port} on {host} is taken by another program")]
    PortTaken {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// No build of the server is known for this machine.
    #[error("there is no nats-server {PINNED} to install for {platform}")]
    UnknownPlatform {
        /// Operating system and architecture.
        platform: String,
    },
    /// Neither HOME nor XDG_CACHE_HOME says where caches go.
    #[error("find the cache folder: neither XDG_CACHE_HOME nor HOME is set")]
    NoCacheFolder,
    /// pip could not install it.
    #[error("install nats-server {PINNED} by pip: {words}")]
    Install {
        /// pip's last words.
        words: String,
    },
    /// What was installed, or found, cannot be used.
    #[error("nats-server at {} cannot be used", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: TooOld,
    },
    /// It ended while it was starting.
    #[error("nats-server ended while starting ({status}): {log}")]
    Ended {
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It did not start, or stop, in time.
    #[error("{what}: not done within {} s: {log}", waited.as_secs())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// A file or a process could not be had.
    #[error("{what} {}", path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ServerError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PortTaken { .. } => Some("stop that program, or choose another port".to_owned()),
            Self::UnknownPlatform { .. } | Self::Install { .. } => {
                Some(format!("install nats-server {PINNED} yourself and put it on PATH"))
            }
            _ => None,
        }
    }

    fn system(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System { what, path, source }
    }
}

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    options: ServerOptions,
    member: Option<Member>,
    program: PathBuf,
    child: Option<Child>,
    url: String,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nobody is left to hear that it was gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl ServerProcess {
    /// Finds or installs a server, starts it and waits until it answers.
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        Self::begin(options, None).await
    }

    /// The same for one of several servers. It answers before the others are there; streams can be made once a
    /// majority is.
    pub async fn start_member(options: ServerOptions, member: Member) -> Result<Self, ServerError> {
        Self::begin(options, Some(member)).await
    }

    async fn begin(options: ServerOptions, member: Option<Member>) -> Result<Self, ServerError> {
        let program = find_or_install().await?;
        let mut server = Self { options, member, program, child: None, url: String::new() };
        server.launch().await?;
        Ok(server)
    }

    /// Where it listens: `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name among several.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.member.as_ref().map(|member| member.name.as_str())
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The file it logs to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.options.dir.join("nats-server.log")
    }

    /// Kills it as a power switch would, and waits until it is gone.
    pub async fn kill9(&mut self) -> Result<(), ServerError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().map_err(ServerError::system("kill", &self.program))?;
        child.wait().map_err(ServerError::system("wait for", &self.program))?;
        Ok(())
    }

    /// Starts it again on the same port and store, after [`ServerProcess::kill9`] or [`ServerProcess::stop`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        self.launch().await
    }

    /// Stops it in order: what is stored is synced already, this only lets its clients know.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = child.id().to_string();
        let told = Command::new(&self.program).args(["--signal", &format!("term={pid}")]).output();
        told.map_err(ServerError::system("stop", &self.program))?;
        let started = Instant::now();
        while child.try_wait().map_err(ServerError::system("wait for", &self.program))?.is_none() {
            if started.elapsed() > STOP_LIMIT {
                child.kill().map_err(ServerError::system("kill", &self.program))?;
                child.wait().map_err(ServerError::system("wait for", &self.program))?;
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until it exits by itself, which it never should, and says how it did.
    pub async fn exited(&mut self) -> String {
        loop {
            let Some(child) = &mut self.child else { return std::future::pending().await };
            match child.try_wait() {
                Ok(None) => tokio::time::sleep(Duration::from_millis(250)).await,
                Ok(Some(status)) => {
                    self.child = None;
                    return format!("{status}: {}", self.log_end());
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        let dir = self.options.dir.clone();
        let ports_dir = dir.join("ports");
        // A file of an earlier run would be believed if this run gets the same process id, as in a container.
        match std::fs::remove_dir_all(&ports_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ServerError::system("remove", &ports_dir)(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&ports_dir).map_err(ServerError::system("create", &ports_dir))?;
        let dir = dir.canonicalize().map_err(ServerError::system("open", &self.options.dir))?;
        self.check_port()?;
        let conf = dir.join("nats.conf");
        let mut text = conf::with(self.options.host, self.options.port, &dir.join("store"));
        if let Some(member) = &self.member {
            text = conf::with_member(&text, member);
        }
        std::fs::File::create(&conf)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(ServerError::system("write", &conf))?;

        let mut command = self.command();
        command.arg("-c").arg(&conf).arg("--ports_file_dir").arg(&ports_dir).arg("-l").arg(dir.join("nats-server.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at the terminal is for the program that owns the server: it stops the server last.
        command.process_group(0);
        let child = command.spawn().map_err(ServerError::system("start", &self.program))?;
        let pid = child.id();
        self.child = Some(child);

        let port = self.wait_for_port(&ports_dir, pid).await?;
        // A later start must find its clients where they are.
        self.options.port = Some(port);
        self.url = format!("nats://{}", SocketAddr::new(self.options.host, port));
        Ok(())
    }

    /// `setpriv` becomes the server, so the process keeps its id.
    fn command(&self) -> Command {
        let setpriv = if self.options.die_with_parent { install::on_path("setpriv") } else { None };
        match setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        }
    }

    /// The server would end with a line in its log; this says it before.
    fn check_port(&self) -> Result<(), ServerError> {
        let Some(port) = self.options.port else { return Ok(()) };
        let host = self.options.host;
        match TcpListener::bind((host, port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(ServerError::PortTaken { host, port }),
            _ => Ok(()),
        }
    }

    async fn wait_for_port(&mut self, ports_dir: &Path, pid: u32) -> Result<u16, ServerError> {
        let started = Instant::now();
        loop {
            if let Some(port) = ports::read(ports_dir, pid) {
                return Ok(port);
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait().map_err(ServerError::system("wait for", &self.program))?,
                None => None,
            };
            if let Some(status) = ended {
                self.child = None;
                let log = self.log_end();
                return Err(match self.options.port {
                    Some(port) if log.contains("address already in use") => {
                        ServerError::PortTaken { host: self.options.host, port }
                    }
                    _ => ServerError::Ended { status: status.to_string(), log },
                });
            }
            if started.elapsed() > START_LIMIT {
                return Err(ServerError::TimedOut {
                    what: "start nats-server",
                    waited: START_LIMIT,
                    log: self.log_end(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.reverse();
        lines.join(" | ")
    }
}
