//! The JSON-RPC that Lotus serves, over HTTP POST on `/rpc/v0` and `/rpc/v1`, and `Devnet.*` to drive the chain.

mod chain_methods;
mod control;
mod error;
mod message_methods;
mod miner_methods;
mod request;
mod sector_methods;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;

pub use error::RpcError;
pub use request::Version;
use request::{Answer, Args, Request};

use crate::devnet::Devnet;

/// A chain that several callers drive.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Devnet>>);

impl Shared {
    /// Shares a chain.
    #[must_use]
    pub fn new(devnet: Devnet) -> Self {
        Self(Arc::new(Mutex::new(devnet)))
    }

    /// Does something with the chain alone. It may take as long as verifying proofs takes: off the async threads.
    pub fn with<T>(&self, work: impl FnOnce(&mut Devnet) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The routes of a chain.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/rpc/v0", post(|State(shared), body| serve(shared, Version::V0, body)))
        .route("/rpc/v1", post(|State(shared), body| serve(shared, Version::V1, body)))
        .with_state(shared)
}

async fn serve(shared: Shared, version: Version, body: Bytes) -> Response {
    let answered = tokio::task::spawn_blocking(move || respond(&shared, version, &body)).await;
    match answered.map(|answer| serde_json::to_vec(&answer)) {
        Ok(Ok(bytes)) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn respond(shared: &Shared, version: Version, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Request>(body) {
        Ok(request) => {
            let params = request.params.unwrap_or_default();
            let outcome = shared.with(|devnet| dispatch(devnet, version, &request.method, params));
            Answer::to(request.id, outcome)
        }
        Err(e) => Answer::to(Value::Null, Err(RpcError::parse(format!("unmarshaling request: {e}")))),
    }
}

/// Answers one call.
pub fn dispatch(devnet: &mut Devnet, version: Version, method: &str, params: Vec<Value>) -> Result<Value, RpcError> {
    let args = || Args::new(method, version, params.clone());
    let answered = if let Some(name) = method.strip_prefix("Filecoin.") {
        chain_methods::call(devnet, name, args())
            .or_else(|| miner_methods::call(devnet, name, args()))
            .or_else(|| sector_methods::call(devnet, name, args()))
            .or_else(|| message_methods::call(devnet, name, args()))
    } else {
        method.strip_prefix("Devnet.").and_then(|name| control::call(devnet, name, args()))
    };
    answered.unwrap_or_else(|| Err(RpcError::no_method(method)))
}
