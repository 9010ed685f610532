//! The way to the chain node of one program: an HTTP proxy that stalls, fails and lies, and the node itself.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long a stalled answer takes: longer than the programs' scaled-down limit.
const STALL: Duration = Duration::from_secs(4);

/// How the node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// As it does.
    Honest,
    /// Not in time.
    Stalls,
    /// With an error of its own: HTTP 503.
    Fails,
    /// With bytes that are no JSON.
    Garbles,
    /// The head of a while ago.
    StaleHead,
    /// As if it were on another network.
    OtherNetwork,
    /// No message has ever landed.
    HidesReceipts,
    /// A push is taken, and the answer is lost.
    LosesPushAnswers,
    /// A push is answered as taken, and is not.
    DropsPushes,
}

impl Mood {
    /// The methods whose answers change; all of them where none is named.
    const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Honest | Self::Stalls | Self::Fails | Self::Garbles => &[],
            Self::StaleHead => &["ChainHead"],
            Self::OtherNetwork => &["StateNetworkName", "StateGetNetworkParams"],
            Self::HidesReceipts => &["StateSearchMsg"],
            Self::LosesPushAnswers | Self::DropsPushes => &["MpoolPush"],
        }
    }

    fn is_about(self, method: &str) -> bool {
        let methods = self.methods();
        self != Self::Honest && (methods.is_empty() || methods.iter().any(|m| method.ends_with(&format!(".{m}"))))
    }
}

#[derive(Debug, Default)]
struct Record {
    mood: Option<Mood>,
    /// Answers of each method that were not what the node said, since the mood was set.
    twisted: BTreeMap<String, u32>,
    /// The last honest head.
    head: Option<Value>,
}

/// A proxy before the node for one program.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    address: SocketAddr,
    node: String,
    http: reqwest::Client,
    record: Arc<Mutex<Record>>,
}

impl Gateway {
    pub(super) async fn open(node: &str) -> anyhow::Result<(Self, TcpListener)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a gateway")?;
        let address = listener.local_addr().context("read a gateway's address")?;
        let http = reqwest::Client::builder().no_proxy().build().context("set up HTTP")?;
        Ok((Self { address, node: node.to_owned(), http, record: Arc::default() }, listener))
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) async fn serve(self, listener: TcpListener) {
        let router = Router::new().fallback(answer).with_state(self);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("a gateway ended: {error}");
        }
    }

    /// Changes how the node answers.
    pub(super) fn set(&self, mood: Mood) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.mood = Some(mood);
        record.twisted.clear();
    }

    /// How many answers were twisted since the mood was set, by method.
    pub(super) fn twisted(&self) -> BTreeMap<String, u32> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).twisted.clone()
    }

    /// The mood, if it is about this call.
    fn mood_for(&self, method: &str) -> Mood {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        match record.mood {
            Some(mood) if mood.is_about(method) => {
                let count = record.twisted.entry(method.to_owned()).or_default();
                *count = count.saturating_add(1);
                mood
            }
            _ => Mood::Honest,
        }
    }

    async fn forward(&self, path: &str, body: Bytes) -> Result<Value, reqwest::Error> {
        let url = format!("{}{path}", self.node);
        let sent = self.http.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await?;
        sent.json().await
    }

    fn note_head(&self, method: &str, answer: &Value) {
        if method.ends_with(".ChainHead") {
            self.record.lock().unwrap_or_else(PoisonError::into_inner).head = answer.get("result").cloned();
        }
    }

    fn old_head(&self) -> Option<Value> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).head.clone()
    }
}

async fn answer(State(gateway): State<Gateway>, uri: Uri, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let mood = gateway.mood_for(&method);
    let replace = |result: Value| axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response();
    match mood {
        Mood::Stalls => {
            tokio::time::sleep(STALL).await;
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        }
        Mood::Fails => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Garbles => return ([(CONTENT_TYPE, "application/json")], "{\"jsonrpc\":\"2.0\",\"resu").into_response(),
        Mood::HidesReceipts => return replace(Value::Null),
        Mood::OtherNetwork if method.ends_with(".StateNetworkName") => return replace(json!("mainnet")),
        Mood::DropsPushes => {
            return match cid_of(&request) {
                Ok(cid) => replace(json!({ "/": cid })),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
            };
        }
        Mood::StaleHead => {
            if let Some(head) = gateway.old_head() {
                return replace(head);
            }
        }
        Mood::Honest | Mood::OtherNetwork | Mood::LosesPushAnswers => {}
    }
    match gateway.forward(uri.path(), body).await {
        Ok(_) if mood == Mood::LosesPushAnswers => StatusCode::BAD_GATEWAY.into_response(),
        Ok(mut said) => {
            gateway.note_head(&method, &said);
            if mood == Mood::OtherNetwork
                && let Some(name) = said.pointer_mut("/result/NetworkName")
            {
                *name = json!("mainnet");
            }
            axum::Json(said).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// What the node would have called the message.
fn cid_of(request: &Value) -> anyhow::Result<String> {
    let shape = request.pointer("/params/0").cloned().context("a push without its message")?;
    let shape: chain::wire::SignedMessageJson = serde_json::from_value(shape).context("read the message")?;
    let message = shape.message.into_message().context("read the message")?;
    let signature = shape.signature.into_signature().context("read the signature")?;
    let cid = chain::message::SignedMessage { message, signature }.cid().context("name the message")?;
    Ok(cid.to_string())
}

/// The node, as the trial drives it.
#[derive(Debug)]
pub(super) struct Node {
    url: String,
    http: reqwest::Client,
    height: AtomicI64,
}

impl Node {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        Ok(Self { url: url.to_owned(), http: http.context("set up HTTP")?, height: AtomicI64::new(0) })
    }

    /// Calls a method.
    pub(super) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(format!("{}/rpc/v1", self.url)).json(&request).send().await;
        let said: Value = sent
            .with_context(|| format!("call {method}"))?
            .json()
            .await
            .with_context(|| format!("read the answer of {method}"))?;
        match said.get("error") {
            Some(error) if !error.is_null() => anyhow::bail!("{method}: {error}"),
            _ => Ok(said.get("result").cloned().unwrap_or(Value::Null)),
        }
    }

    /// Lets one epoch pass.
    pub(super) async fn advance(&self) -> anyhow::Result<i64> {
        let height = self.call("Devnet.Advance", json!([1])).await?.as_i64().context("a height")?;
        self.height.store(height, Ordering::Relaxed);
        Ok(height)
    }

    /// The height after the last epoch that passed.
    pub(super) fn height(&self) -> i64 {
        self.height.load(Ordering::Relaxed)
    }
}
