//! Why a message was not sent, or a node would not take it.

use std::error::Error;

use streams::{error::QueueError, sector::MessageRef};

use crate::{error::ChainError, key::KeyError, message::BadMessage};

/// A message that was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node; an exit code in it means that the message would fail.
    #[error("send {method}")]
    Chain {
        /// The message's method.
        method: String,
        /// What the node said.
        #[source]
        source: ChainError,
    },
    /// The outbox.
    #[error("outbox of {sender}")]
    Queue {
        /// The sender.
        sender: String,
        /// What failed.
        #[source]
        source: QueueError,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The message cannot be written.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// The caller's records could not be changed first.
    #[error("join message {sender}/{nonce}")]
    Join {
        /// The sender.
        sender: String,
        /// The nonce.
        nonce: u64,
        /// The caller's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process sent with this address and nonce. The next try takes a later one.
    #[error("nonce {nonce} of {sender} was taken by another process")]
    NonceTaken {
        /// The sender.
        sender: String,
        /// The nonce.
        nonce: u64,
    },
}

impl SendError {
    /// The exit code with which the message would fail, where that is why it was not sent.
    #[must_use]
    pub fn exit_code(&self) -> Option<u32> {
        match self {
            Self::Chain { source, .. } => source.exit_code(),
            _ => None,
        }
    }

    /// Whether the same message may be sent later without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Chain { source, .. } => source.is_retryable(),
            Self::Queue { .. } | Self::NonceTaken { .. } => true,
            _ => false,
        }
    }
}

/// A message that a node would not take. It stays in the outbox and is pushed again.
#[derive(Debug)]
pub struct Refusal {
    /// The message.
    pub message: MessageRef,
    /// What the node said.
    pub error: ChainError,
}
