//! JSON-RPC 2.0 over HTTP, to Lotus, Forest, Venus or the embedded devnet.
//!
//! Every call has a deadline and a limit on the answer's size, and an answer counts only with the id of its request.

mod client;
mod endpoint;
mod network;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use endpoint::{BadEndpoint, Endpoint};
use network::Network;

use crate::{
    error::{ChainError, Fault, classify},
    wire::NetworkParamsJson,
};

/// How to reach a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// A URL (`http://127.0.0.1:1234`), a multiaddress (`/ip4/127.0.0.1/tcp/1234/http`), or what Lotus prints as
    /// `FULLNODE_API_INFO` (`token:multiaddress`).
    pub endpoint: String,
    /// A file with the bearer token; wins over one in `endpoint`.
    pub token_file: Option<PathBuf>,
    /// How long a call may take, in seconds.
    pub timeout_secs: u64,
    /// How large an answer may be.
    pub answer_bytes_max: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:1234".to_owned(),
            token_file: None,
            timeout_secs: 30,
            answer_bytes_max: 64 << 20,
        }
    }
}

/// A node that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NodeConfigError {
    /// The endpoint cannot be read.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// The token file cannot be read.
    #[error("token file {path}")]
    TokenFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token has characters that cannot be in a header. It is not repeated here.
    #[error("the token from {from} cannot be sent in a header")]
    Token {
        /// Where it came from.
        from: String,
    },
    /// The HTTP client cannot be built.
    #[error("build HTTP client")]
    Http(#[source] reqwest::Error),
}

/// A node, spoken to by JSON-RPC. Cheap to clone.
#[derive(Clone)]
pub struct JsonRpc {
    http: reqwest::Client,
    url: Arc<str>,
    timeout: Duration,
    answer_bytes_max: usize,
    next_id: Arc<AtomicU64>,
    network: Arc<Network>,
}

impl fmt::Debug for JsonRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonRpc({})", self.url)
    }
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id: serde_json::Value,
    #[serde(default)]
    result: serde_json::Value,
    #[serde(default)]
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

/// The longest piece of a node's own words that is kept in an error.
const WORDS_MAX: usize = 2_000;

impl JsonRpc {
    /// Sets up a node; nothing is sent yet.
    pub fn new(config: &NodeConfig) -> Result<Self, NodeConfigError> {
        let endpoint: Endpoint = config.endpoint.parse()?;
        let token = match &config.token_file {
            Some(path) => Some((read_token(path)?, path.display().to_string())),
            None => endpoint.token().map(|token| (token.to_owned(), "the endpoint".to_owned())),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Venus routes by this header; Lotus and Forest do not look at it.
        headers.insert(HeaderName::from_static("x-venus-api-namespace"), HeaderValue::from_static("v1.FullNode"));
        if let Some((token, from)) = token {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| NodeConfigError::Token { from })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let timeout = Duration::from_secs(config.timeout_secs);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(timeout)
            .connect_timeout(timeout)
            .build()
            .map_err(NodeConfigError::Http)?;
        Ok(Self {
            http,
            url: endpoint.url().into(),
            timeout,
            answer_bytes_max: config.answer_bytes_max,
            next_id: Arc::new(AtomicU64::new(1)),
            network: Arc::default(),
        })
    }

    /// The node's URL, without credentials.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.url
    }

    /// Calls a method with positional parameters (a tuple or an array). Once it was asked for its network, a node that
    /// turns out to be on another network is not called.
    pub async fn call<P: Serialize, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, ChainError> {
        if self.network.must_tell(method) {
            self.params().await?;
        }
        self.exchange(method, params).await.map_err(|fault| self.error(method, fault))
    }

    /// What the node says of its network, which must be the one it named first.
    async fn params(&self) -> Result<NetworkParamsJson, ChainError> {
        const METHOD: &str = "Filecoin.StateGetNetworkParams";
        let told = async {
            let params: NetworkParamsJson = self.exchange(METHOD, [(); 0]).await?;
            self.network.told(&params.network_name)?;
            Ok(params)
        };
        told.await.map_err(|fault| self.error(METHOD, fault))
    }

    fn error(&self, method: &'static str, fault: Fault) -> ChainError {
        ChainError { method, endpoint: self.url.clone(), fault }
    }

    async fn exchange<P: Serialize, R: DeserializeOwned>(&self, method: &str, params: P) -> Result<R, Fault> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params })
            .map_err(|e| Fault::BadRequest(e.to_string()))?;
        let response = self.http.post(&*self.url).body(body).send().await.map_err(|e| self.transport(&e))?;
        let status = response.status();
        let body = self.read_limited(response).await?;
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => {
                let message = String::from_utf8_lossy(&body).chars().take(WORDS_MAX).collect();
                return Err(Fault::Refused { code: i64::from(status.as_u16()), message });
            }
            Err(e) => return Err(Fault::BadAnswer(format!("not JSON-RPC: {e}"))),
        };
        // A node that could not read the request answers with id null; its words say more than the missing id.
        let parse_failure = answer.error.is_some() && answer.id.is_null();
        if !parse_failure && answer.id.as_u64() != Some(id) {
            return Err(Fault::BadAnswer(format!("it has id {}, the request had {id}", answer.id)));
        }
        if let Some(error) = answer.error {
            let message: String = error.message.chars().take(WORDS_MAX).collect();
            return Err(classify(error.code, &message));
        }
        serde_json::from_value(answer.result).map_err(|e| Fault::BadAnswer(e.to_string()))
    }

    async fn read_limited(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Fault> {
        let too_large = Fault::TooLarge { limit_bytes: self.answer_bytes_max };
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |bytes| bytes > self.answer_bytes_max) {
            return Err(too_large);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.transport(&e))? {
            if body.len() + chunk.len() > self.answer_bytes_max {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn transport(&self, error: &reqwest::Error) -> Fault {
        if error.is_timeout() {
            return Fault::Timeout(self.timeout);
        }
        // The library repeats the URL in front; the causes behind it are what a person needs.
        let mut words = Vec::new();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            words.push(inner.to_string());
            cause = inner.source();
        }
        Fault::Transport(if words.is_empty() { error.to_string() } else { words.join(": ") })
    }
}

fn read_token(path: &Path) -> Result<String, NodeConfigError> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| NodeConfigError::TokenFile { path: path.display().to_string(), source })
}
