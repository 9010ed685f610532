//! Errors as a Lotus node words and numbers them.

use serde::Serialize;

use crate::{devnet::UnknownTipset, mempool::Rejected, randomness::NoDraw};

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcError {
    /// Its code.
    pub code: i64,
    /// Its words.
    pub message: String,
}

impl RpcError {
    /// Lotus' code for everything that has none of its own.
    pub(crate) fn plain(message: impl ToString) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    pub(crate) fn execution_reverted(message: String) -> Self {
        Self { code: 3, message }
    }

    pub(crate) fn out_of_gas(message: String) -> Self {
        Self { code: 2, message }
    }

    pub(crate) fn actor_not_found(message: impl ToString) -> Self {
        Self { code: 11, message: message.to_string() }
    }

    pub(crate) fn parse(message: impl ToString) -> Self {
        Self { code: -32_700, message: message.to_string() }
    }

    pub(crate) fn no_method(method: &str) -> Self {
        Self { code: -32_601, message: format!("method '{method}' not found") }
    }

    pub(crate) fn wrong_count(method: &str, got: usize, want: usize) -> Self {
        Self { code: -32_602, message: format!("wrong param count (method '{method}'): {got} != {want}") }
    }
}

impl From<anyhow::Error> for RpcError {
    fn from(error: anyhow::Error) -> Self {
        Self::plain(format!("{error:#}"))
    }
}

impl From<UnknownTipset> for RpcError {
    fn from(error: UnknownTipset) -> Self {
        Self::plain(error)
    }
}

impl From<NoDraw> for RpcError {
    fn from(error: NoDraw) -> Self {
        Self::plain(error)
    }
}

impl From<Rejected> for RpcError {
    fn from(error: Rejected) -> Self {
        match error {
            Rejected::NoSender(_) => Self::actor_not_found(error),
            _ => Self::plain(error),
        }
    }
}
