//! Errors of a chain node, by what a caller can do about them.

use std::{sync::Arc, time::Duration};

/// A call to a node that brought no answer, or one that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{method} at {endpoint}: {fault}")]
pub struct ChainError {
    /// The method, with its namespace.
    pub method: &'static str,
    /// The node, without credentials.
    pub endpoint: Arc<str>,
    /// What went wrong.
    pub fault: Fault,
}

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The node could not be reached, or the connection broke: nothing is known about the call.
    #[error("no connection: {0}")]
    Transport(String),
    /// No answer within the limit: nothing is known about the call.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger than this client reads.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer is not JSON-RPC, has another request's id, or not the expected shape.
    #[error("bad answer: {0}")]
    BadAnswer(String),
    /// The request could not be written down.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The node refused: a JSON-RPC error without a class of its own.
    #[error("{message} (code {code})")]
    Refused {
        /// The JSON-RPC code, or the HTTP status where there was no JSON-RPC answer.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// There is no such actor, sector or tipset.
    #[error("not found: {0}")]
    NotFound(String),
    /// A pushed message's nonce is used in the node's state: by another message, or by this one.
    #[error("{0}")]
    NonceTooLow(String),
    /// The node is on another network than the one it named first.
    #[error("the node is on network {found} now, and was on {expected}")]
    OtherNetwork {
        /// Now.
        found: String,
        /// Before.
        expected: String,
    },
    /// The node does not have this method (-32601).
    #[error("the node does not have this method")]
    MethodMissing,
    /// The message was executed, while its gas was estimated, and failed: sent, it would fail the same way.
    #[error("the message would fail with exit code {exit_code}: {message}")]
    ExecutionFailed {
        /// The actor's exit code.
        exit_code: u32,
        /// The node's words.
        message: String,
    },
}

impl ChainError {
    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        // 429 and 5xx are what stands before the node, or the node while it starts; JSON-RPC has no such codes.
        matches!(
            self.fault,
            Fault::Transport(_)
                | Fault::Timeout(_)
                | Fault::OtherNetwork { .. }
                | Fault::Refused { code: 429 | 500..=599, .. }
        )
    }

    /// Whether the node said that the thing asked for does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self.fault, Fault::NotFound(_))
    }

    /// Whether the node lacks the method.
    #[must_use]
    pub const fn is_method_missing(&self) -> bool {
        matches!(self.fault, Fault::MethodMissing)
    }

    /// The exit code with which the message would fail.
    #[must_use]
    pub const fn exit_code(&self) -> Option<u32> {
        match self.fault {
            Fault::ExecutionFailed { exit_code, .. } => Some(exit_code),
            _ => None,
        }
    }
}

/// What a JSON-RPC error of a node means. Lotus and Forest use code 1 for almost everything, so the words decide.
#[must_use]
pub fn classify(code: i64, message: &str) -> Fault {
    /// Lotus `api/api_errors.go`: EActorNotFound.
    const ACTOR_NOT_FOUND: i64 = 11;
    const METHOD_NOT_FOUND: i64 = -32601;
    match code {
        METHOD_NOT_FOUND => Fault::MethodMissing,
        ACTOR_NOT_FOUND => Fault::NotFound(message.to_owned()),
        _ => {
            if let Some(exit_code) = exit_code_in(message) {
                return Fault::ExecutionFailed { exit_code, message: message.to_owned() };
            }
            let lower = message.to_ascii_lowercase();
            // "could not find" is what Lotus says of a message that it has never been given.
            if lower.contains("nonce too low") {
                Fault::NonceTooLow(message.to_owned())
            } else if ["not found", "could not find", "no such"].iter().any(|words| lower.contains(words)) {
                Fault::NotFound(message.to_owned())
            } else {
                Fault::Refused { code, message: message.to_owned() }
            }
        }
    }
}

/// The exit code in a gas estimation's words: `… (exit=[SysErrInsufficientFunds(6)] …`, `exit 16`, `RetCode=16`,
/// `exit code: 16`. The last one wins: nodes put the outermost message's code last.
fn exit_code_in(message: &str) -> Option<u32> {
    let lower = message.to_ascii_lowercase();
    let after = ["exit=[", "retcode=", "exitcode=", "exit code: ", "exit code ", "exitcode: ", "exit "]
        .iter()
        .find_map(|marker| lower.rfind(marker).and_then(|at| lower.get(at + marker.len()..)))?;
    let token = after.split([']', ',', ';', ' ']).next()?;
    let digits = token.split_once('(').map_or(token, |(_, inner)| inner);
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|code| *code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_from_the_words_nodes_use() {
        for (words, code) in [
            (
                "estimating gas used: message execution failed (exit=[SysErrInsufficientFunds(6)], revert reason=[none], vm error=[])",
                6,
            ),
            ("message execution failed: exit 16, reason: precommit not allowed (RetCode=16)", 16),
            ("message execution failed (exit=[16], revert reason=[..])", 16),
            ("call raised: exit code: 18, forbidden", 18),
        ] {
            let Fault::ExecutionFailed { exit_code, .. } = classify(1, words) else { panic!("{words}") };
            assert_eq!(exit_code, code, "{words}");
        }
    }

    #[test]
    fn other_words_have_other_classes() {
        assert_eq!(classify(-32601, "method 'Filecoin.X' not found"), Fault::MethodMissing);
        assert_eq!(classify(11, "actor not found"), Fault::NotFound("actor not found".into()));
        assert!(matches!(classify(1, "resolution lookup failed (f01): actor not found"), Fault::NotFound(_)));
        let unknown_message = "failed to load message: ipld: could not find bafy2bzaceb";
        assert!(matches!(classify(1, unknown_message), Fault::NotFound(_)));
        assert!(matches!(classify(1, "mpool is full"), Fault::Refused { code: 1, .. }));
        let used = "minimum expected nonce is 7: message nonce too low";
        assert_eq!(classify(1, used), Fault::NonceTooLow(used.into()));
    }
}
