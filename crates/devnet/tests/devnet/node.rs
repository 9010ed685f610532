//! A chain behind a socket, and what a client says to it.

use std::sync::Arc;

use devnet::{
    Devnet, Genesis, Preset,
    rpc::{Shared, router},
};
use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::wallet::{Wallet, whole};

/// Verification that answers what a test needs. Only the handlers around it are under test where it is used.
pub(crate) struct Says(pub(crate) bool);

impl Verifier for Says {
    fn seal(&self, _: &SealStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(self.0)
    }

    fn aggregate(&self, _: &[SealStatement], _: &[u8]) -> Result<bool, VerifyError> {
        Ok(self.0)
    }

    fn window_post(&self, _: &WindowPostStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(self.0)
    }
}

/// A node under test.
pub(crate) struct Node {
    client: reqwest::Client,
    url: String,
    /// Serves while the node lives; empty when another process does.
    _server: JoinSet<()>,
}

/// A genesis with the wallets of the tests funded.
pub(crate) fn genesis() -> Genesis {
    let mut genesis = Genesis::of(Preset::Fast);
    genesis.accounts = vec![(Wallet::bls().address(), whole(1_000_000)), (Wallet::secp().address(), whole(1_000))];
    genesis
}

impl Node {
    /// A fast chain with funded wallets, whose verifier says `verdict`.
    pub(crate) async fn that_says(verdict: bool) -> Self {
        Self::serving(Devnet::new(genesis(), Arc::new(Says(verdict))).unwrap()).await
    }

    pub(crate) async fn serving(devnet: Devnet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        let app = router(Shared::new(devnet));
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { client: reqwest::Client::new(), url, _server: server }
    }

    /// A chain that another process serves.
    pub(crate) fn at(url: &str) -> Self {
        Self { client: reqwest::Client::new(), url: url.to_owned(), _server: JoinSet::new() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The whole answer to a body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Value {
        let request = self.client.post(format!("{}{path}", self.url)).body(body.to_owned());
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
    }

    /// The result, or code and words of the error.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value, (i64, String)> {
        let method = if method.contains('.') { method.to_owned() } else { format!("Filecoin.{method}") };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let answer = self.post("/rpc/v1", &body).await;
        match answer.get("error") {
            Some(error) => Err((error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())),
            None => Ok(answer["result"].clone()),
        }
    }

    pub(crate) async fn get(&self, method: &str, params: Value) -> Value {
        self.ask(method, params).await.unwrap_or_else(|(code, words)| panic!("{method}: {words} ({code})"))
    }

    /// Lets epochs pass; the head's height.
    pub(crate) async fn advance(&self, epochs: i64) -> i64 {
        self.get("Devnet.Advance", json!([epochs])).await.as_i64().unwrap()
    }

    /// Lets epochs pass until the head is at `height`.
    pub(crate) async fn advance_to(&self, height: i64) {
        let head = self.height().await;
        assert!(head <= height, "the head is at {head} already, after {height}");
        assert_eq!(self.advance(height - head).await, height);
    }

    pub(crate) async fn height(&self) -> i64 {
        self.get("ChainHead", json!([])).await["Height"].as_i64().unwrap()
    }

    /// The receipt of a message, after the two epochs it takes to be seen.
    pub(crate) async fn receipt(&self, cid: &Value) -> Value {
        self.advance(2).await;
        let found = self.get("StateSearchMsg", json!([[], cid, -1, true])).await;
        assert!(!found.is_null(), "message {cid} is not on chain");
        found["Receipt"].clone()
    }

    /// Pushes a message and waits for its exit code.
    pub(crate) async fn exit_code(&self, signed: Value) -> u64 {
        let cid = self.get("MpoolPush", json!([signed])).await;
        self.receipt(&cid).await["ExitCode"].as_u64().unwrap()
    }
}
