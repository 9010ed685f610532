//! What can go wrong between a process and its queue.

use std::{path::PathBuf, time::Duration};

use crate::message::BadText;

/// Any error of the client library, kept as the cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The queue did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No server answered at the address.
    #[error("connect to nats-server at {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the client said.
        #[source]
        source: Cause,
    },
    /// The address cannot be read.
    #[error("nats url \"{url}\" is not valid")]
    BadUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The server lacks fixes for lost data.
    #[error("nats-server at {url} is too old: {found}")]
    ServerTooOld {
        /// The address.
        url: String,
        /// What is wrong with the version.
        found: crate::server::TooOld,
    },
    /// The server runs without JetStream.
    #[error("nats-server at {url} runs without JetStream")]
    NoJetStream {
        /// The address.
        url: String,
    },
    /// A stream, consumer or bucket is not there.
    #[error("{what} does not exist")]
    Missing {
        /// Which: `stream TASKS`, `consumer pc2-gpu_host1`.
        what: String,
    },
    /// The server answered no.
    #[error("{what}: {description} (JetStream error {code})")]
    Refused {
        /// What was asked.
        what: String,
        /// The JetStream error code.
        code: u64,
        /// The server's words.
        description: String,
    },
    /// No leader answers at the moment: an election, or a server that starts.
    #[error("{what}: JetStream does not answer")]
    Unavailable {
        /// What was asked.
        what: String,
    },
    /// The server does not let this user do it.
    #[error("{what}: {description}")]
    NotPermitted {
        /// What was asked.
        what: String,
        /// The server's words.
        description: String,
    },
    /// No answer within the limit.
    #[error("{what}: no answer within {}", humane(*.waited))]
    TimedOut {
        /// What was asked.
        what: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// A message or value that this program cannot read.
    #[error("read {what}")]
    Text {
        /// Which subject or key.
        what: String,
        /// Why not.
        #[source]
        source: BadText,
    },
    /// The client library failed.
    #[error("{what}")]
    Client {
        /// What was asked.
        what: String,
        /// What the client said.
        #[source]
        source: Cause,
    },
    /// A local file could not be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was tried: `write`, `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An artifact's bytes are not those its reference names.
    #[error("artifact {name} is corrupt: its SHA-256 is {found}, the reference says {expected}")]
    Corrupt {
        /// Its name.
        name: String,
        /// What was read.
        found: crate::proof::Sha256,
        /// What should have been.
        expected: crate::proof::Sha256,
    },
}

impl QueueError {
    /// Whether it may pass by itself: an election, a server that starts, an answer that was lost.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. })
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => {
                Some("start it with `nats-server -c nats.conf`, or try `coordinator dev`".to_owned())
            }
            Self::BadUrl { .. } => {
                Some("write it as nats://HOST:PORT; several servers are separated by commas".to_owned())
            }
            Self::ServerTooOld { .. } => {
                Some(format!("install nats-server {}: older ones lose acknowledged messages", crate::server::PINNED))
            }
            Self::NoJetStream { .. } => {
                Some("start it with the repository's nats.conf, which turns JetStream on".to_owned())
            }
            Self::Missing { .. } => Some("the coordinator creates streams and buckets: start it first".to_owned()),
            Self::NotPermitted { .. } => Some("check this user's permissions in nats.conf".to_owned()),
            _ => None,
        }
    }
}

fn humane(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
