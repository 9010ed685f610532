//! The JSON-RPC that Lotus serves, over HTTP POST on `/rpc/v0` and `/rpc/v1`, and `Devnet.*` to drive the chain.

mod chain_methods;
mod control;
mod error;
mod message_methods;
mod miner_methods;
mod misbehaviour;
mod request;
mod sector_methods;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;

pub use error::RpcError;
pub use misbehaviour::{BadRule, Does, Misbehaviour, Rule};
pub use request::Version;
use request::{Answer, Args, Request};

use crate::devnet::Devnet;

/// A chain that several callers drive, and how its node misbehaves.
#[derive(Clone)]
pub struct Shared {
    devnet: Arc<Mutex<Devnet>>,
    misbehaviour: Arc<Mutex<Misbehaviour>>,
}

impl Shared {
    /// Shares a chain.
    #[must_use]
    pub fn new(devnet: Devnet) -> Self {
        Self { devnet: Arc::new(Mutex::new(devnet)), misbehaviour: Arc::default() }
    }

    /// The same chain behind a node of its own, which misbehaves only when that one is told to.
    #[must_use]
    pub fn another_node(&self) -> Self {
        Self { devnet: Arc::clone(&self.devnet), misbehaviour: Arc::default() }
    }

    /// Does something with the chain alone. It may take as long as verifying proofs takes: off the async threads.
    pub fn with<T>(&self, work: impl FnOnce(&mut Devnet) -> T) -> T {
        work(&mut self.devnet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes how the node misbehaves.
    pub fn misbehave<T>(&self, change: impl FnOnce(&mut Misbehaviour) -> T) -> T {
        change(&mut self.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner))
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
    let request = match serde_json::from_slice::<Request>(&body) {
        Ok(request) => request,
        Err(e) => {
            return json(&Answer::to(Value::Null, Err(RpcError::parse(format!("unmarshaling request: {e}")))));
        }
    };
    let does = shared.misbehave(|misbehaviour| misbehaviour.take(&request.method));
    if let Some(pause) = does.as_ref().and_then(Does::pause) {
        tokio::time::sleep(pause).await;
    }
    match &does {
        Some(Does::Http { status }) => {
            return StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        Some(Does::Drop) => return broken(),
        _ => {}
    }
    let loses_answer = does == Some(Does::LostAnswer);
    match tokio::task::spawn_blocking(move || respond(&shared, version, request, does.as_ref())).await {
        Ok(_) if loses_answer => broken(),
        Ok(answer) => json(&answer),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json(answer: &Answer) -> Response {
    match serde_json::to_vec(answer) {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A connection that ends before the answer does.
fn broken() -> Response {
    let cut = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut, as a test wished")) });
    Body::from_stream(cut).into_response()
}

fn respond(shared: &Shared, version: Version, request: Request, does: Option<&Does>) -> Answer {
    let params = request.params.unwrap_or_default();
    let outcome = shared.with(|devnet| {
        devnet.hide(if let Some(Does::Stale { back }) = does { *back } else { 0 });
        let outcome = dispatch(shared, devnet, version, &request.method, params);
        devnet.hide(0);
        outcome
    });
    Answer::to(
        request.id,
        outcome.map(|answer| match does {
            Some(does) => does.twist(answer),
            None => answer,
        }),
    )
}

/// Answers one call.
fn dispatch(
    shared: &Shared,
    devnet: &mut Devnet,
    version: Version,
    method: &str,
    params: Vec<Value>,
) -> Result<Value, RpcError> {
    let args = || Args::new(method, version, params.clone());
    let answered = if let Some(name) = method.strip_prefix("Filecoin.") {
        chain_methods::call(devnet, name, args())
            .or_else(|| miner_methods::call(devnet, name, args()))
            .or_else(|| sector_methods::call(devnet, name, args()))
            .or_else(|| message_methods::call(devnet, name, args()))
    } else {
        let name = method.strip_prefix("Devnet.");
        name.and_then(|name| shared.misbehave(|misbehaviour| control::call(devnet, misbehaviour, name, args())))
    };
    answered.unwrap_or_else(|| Err(RpcError::no_method(method)))
}
