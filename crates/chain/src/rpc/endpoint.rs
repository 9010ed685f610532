//! The forms in which people write where a node is.

use std::{fmt, str::FromStr};

/// Where a node is. A token in it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    token: Option<String>,
}

/// An endpoint that cannot be read. A token in it is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node endpoint \"{shown}\" is not valid: {reason}")]
pub struct BadEndpoint {
    shown: String,
    reason: &'static str,
}

const VERSION_DEFAULT: &str = "v1";

impl Endpoint {
    /// The URL to post to: `http://127.0.0.1:1234/rpc/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token, where the endpoint was written as `token:multiaddress`.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.is_some() { " with a token" } else { "" };
        write!(f, "Endpoint({}{token})", self.url)
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    /// Reads a URL, a multiaddress, or either behind `token:` (`FULLNODE_API_INFO`).
    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let text = text.trim();
        if text.contains(',') {
            return Err(BadEndpoint { shown: "…".to_owned(), reason: "give one node, not a list" });
        }
        // The Go clients' rule: everything before the first colon is the token, unless the text is a multiaddress, or
        // the colon belongs to a URL's scheme.
        let (token, place) = match text.split_once(':') {
            Some((token, place)) if !text.starts_with('/') && !place.starts_with("//") => (Some(token), place),
            _ => (None, text),
        };
        let url = if place.starts_with('/') { from_multiaddress(place)? } else { from_url(place)? };
        Ok(Self { url, token: token.filter(|t| !t.is_empty()).map(str::to_owned) })
    }
}

fn from_url(text: &str) -> Result<String, BadEndpoint> {
    let bad = |reason| BadEndpoint { shown: text.to_owned(), reason };
    let (scheme, rest) =
        text.split_once("://").ok_or_else(|| bad("write it as http://HOST:PORT or /ip4/HOST/tcp/PORT"))?;
    let scheme = http_scheme(scheme).ok_or_else(|| bad("its scheme is not http, https, ws or wss"))?;
    if rest.contains('@') {
        return Err(BadEndpoint { shown: "…".to_owned(), reason: "give the token in a file, not in the URL" });
    }
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path.trim_end_matches('/')));
    if host.is_empty() {
        return Err(bad("it has no host"));
    }
    let path = if path.is_empty() { format!("rpc/{VERSION_DEFAULT}") } else { path.to_owned() };
    Ok(format!("{scheme}://{host}/{path}"))
}

/// `/ip4/127.0.0.1/tcp/3453[/http|/https|/ws|/wss][/version/v0]`. A websocket is taken as HTTP: nodes serve both on
/// one port.
fn from_multiaddress(text: &str) -> Result<String, BadEndpoint> {
    let bad = |reason| BadEndpoint { shown: text.to_owned(), reason };
    let mut parts = text.trim_end_matches('/').split('/').skip(1);
    let host = match (parts.next(), parts.next()) {
        (Some("ip4" | "dns" | "dns4" | "dns6"), Some(host)) if !host.is_empty() => host.to_owned(),
        (Some("ip6"), Some(host)) if !host.is_empty() => format!("[{host}]"),
        _ => return Err(bad("it must begin with /ip4, /ip6 or /dns and a host")),
    };
    let port: u16 = match (parts.next(), parts.next()) {
        (Some("tcp"), Some(port)) => port.parse().map_err(|_| bad("its port is not a number"))?,
        _ => return Err(bad("it must have /tcp and a port after the host")),
    };
    let mut scheme = "http";
    let mut version = VERSION_DEFAULT;
    while let Some(part) = parts.next() {
        match (part, http_scheme(part)) {
            ("version", _) => version = parts.next().ok_or_else(|| bad("/version needs a value"))?,
            (_, Some(known)) => scheme = known,
            _ => return Err(bad("after the port only http, https, ws, wss and version are known")),
        }
    }
    Ok(format!("{scheme}://{host}:{port}/rpc/{version}"))
}

fn http_scheme(text: &str) -> Option<&'static str> {
    match text {
        "http" | "ws" => Some("http"),
        "https" | "wss" => Some("https"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_people_write_is_read() {
        for (text, url, token) in [
            ("http://127.0.0.1:1234", "http://127.0.0.1:1234/rpc/v1", None),
            ("http://127.0.0.1:1234/", "http://127.0.0.1:1234/rpc/v1", None),
            ("ws://node:1234/rpc/v1", "http://node:1234/rpc/v1", None),
            ("https://api.node.glif.io/rpc/v0", "https://api.node.glif.io/rpc/v0", None),
            ("/ip4/127.0.0.1/tcp/3453", "http://127.0.0.1:3453/rpc/v1", None),
            ("/ip4/127.0.0.1/tcp/1234/http", "http://127.0.0.1:1234/rpc/v1", None),
            ("/dns/node.example/tcp/443/wss", "https://node.example:443/rpc/v1", None),
            ("/ip6/::1/tcp/1234/http", "http://[::1]:1234/rpc/v1", None),
            ("/ip4/10.0.0.1/tcp/3453/version/v0", "http://10.0.0.1:3453/rpc/v0", None),
            ("ey.J.x:/ip4/127.0.0.1/tcp/1234/http", "http://127.0.0.1:1234/rpc/v1", Some("ey.J.x")),
            ("ey.J.x:http://127.0.0.1:1234", "http://127.0.0.1:1234/rpc/v1", Some("ey.J.x")),
        ] {
            let endpoint: Endpoint = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((endpoint.url(), endpoint.token()), (url, token), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_and_tokens_are_not_printed() {
        for text in [
            "",
            "127.0.0.1",
            "ftp://host",
            "http://",
            "/ip4/127.0.0.1",
            "/ip4/1.1.1.1/tcp/x",
            "/ip4/1.1.1.1/tcp/1/quic",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        let secret = "s3cret:/ip4/127.0.0.1";
        assert!(!secret.parse::<Endpoint>().unwrap_err().to_string().contains("s3cret"));
        let endpoint: Endpoint = "s3cret:/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }
}
