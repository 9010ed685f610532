//! Errors of a chain node.
/// What went wrong when asking a node.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node answered with an error.
    #[error("{method}: {message} (code {code})")]
    Refused {
        /// The method.
        method: &'static str,
        /// JSON-RPC code.
        code: i64,
        /// Its words.
        message: String,
    },
}
