//! A request and its positional parameters.

use chain::json::CidJson;
use cid::Cid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::error::RpcError;

/// Which path was asked: a few methods take other parameters in the older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `/rpc/v0`.
    V0,
    /// `/rpc/v1`.
    V1,
}

/// A JSON-RPC request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) params: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) id: Value,
}

/// A JSON-RPC answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answer {
    jsonrpc: &'static str,
    id: Value,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(RpcError),
}

impl Answer {
    pub(crate) fn to(id: Value, outcome: Result<Value, RpcError>) -> Self {
        let outcome = outcome.map_or_else(Outcome::Error, Outcome::Result);
        Self { jsonrpc: "2.0", id, outcome }
    }
}

/// The parameters of one call.
pub(crate) struct Args<'a> {
    pub(crate) method: &'a str,
    pub(crate) version: Version,
    values: Vec<Value>,
}

impl<'a> Args<'a> {
    pub(crate) const fn new(method: &'a str, version: Version, values: Vec<Value>) -> Self {
        Self { method, version, values }
    }

    /// Reads exactly `count` parameters into a tuple.
    pub(crate) fn read<T: DeserializeOwned>(self, count: usize) -> Result<T, RpcError> {
        if self.values.len() != count {
            return Err(RpcError::wrong_count(self.method, self.values.len(), count));
        }
        let method = self.method;
        serde_json::from_value(Value::Array(self.values))
            .map_err(|e| RpcError::parse(format!("unmarshaling params for '{method}': {e}")))
    }

    /// Reads at least `least` parameters into a tuple of `count`; those left out are null.
    pub(crate) fn read_padded<T: DeserializeOwned>(mut self, least: usize, count: usize) -> Result<T, RpcError> {
        if self.values.len() >= least && self.values.len() < count {
            self.values.resize(count, Value::Null);
        }
        self.read(count)
    }

    pub(crate) fn none(self) -> Result<(), RpcError> {
        self.read::<[(); 0]>(0).map(|_| ())
    }
}

/// A tipset key: `null` and `[]` are the head.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(Option<Vec<CidJson>>);

impl Key {
    pub(crate) fn cids(&self) -> Vec<Cid> {
        self.0.iter().flatten().map(|cid| cid.0).collect()
    }
}

/// A value as an answer.
pub(crate) fn answer(value: impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(RpcError::plain)
}
