//! What may be shown of a setting: a password in a URL, and a key that is named as a secret, is not.

use serde_json::Value;

const HIDDEN: &str = "***";
/// Words in a key that make its value a secret, unless the value is where the secret is.
const WORDS: [&str; 6] = ["password", "passphrase", "secret", "token", "access_key", "private_key"];
const WHERE: [&str; 4] = ["_file", "_path", "_dir", "_wait"];

/// The value of a key as it may be shown.
pub(super) fn shown(key: &str, value: Value) -> Value {
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    let is_place = WHERE.iter().any(|ending| last.ends_with(ending));
    let is_secret = !is_place && WORDS.iter().any(|word| last.contains(word));
    match value {
        Value::Null => Value::Null,
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), shown(&key, value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(|value| shown(key, value)).collect()),
        Value::String(text) if !is_secret => Value::String(without_passwords(&text)),
        value if !is_secret => value,
        _ => Value::String(HIDDEN.to_owned()),
    }
}

/// A text with every URL's password hidden, and the token that stands before an address, as Lotus writes it.
pub(crate) fn without_passwords(text: &str) -> String {
    let text = match text.split_once(':') {
        Some((token, address)) if is_token_of(token, address) => format!("{HIDDEN}:{address}"),
        _ => text.to_owned(),
    };
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ',')).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            None => shown.push_str(authority),
            Some((user, host)) => {
                // A user without a password is a token to nats-server.
                let user = user.split_once(':').map_or(String::new(), |(user, _)| format!("{user}:"));
                shown.push_str(&format!("{user}{HIDDEN}@{host}"));
            }
        }
        rest = behind;
    }
    shown.push_str(rest);
    without_query_tokens(&shown)
}

fn is_token_of(token: &str, address: &str) -> bool {
    let is_address = (address.starts_with('/') && !address.starts_with("//")) || address.starts_with("http");
    is_address && !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn without_query_tokens(text: &str) -> String {
    match text.split_once("?token=") {
        Some((before, _)) => format!("{before}?token={HIDDEN}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_and_tokens_are_hidden_wherever_they_stand() {
        for (text, hidden) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://agent:CANARY@host:4222", "nats://agent:***@host:4222"),
            ("nats://CANARY@a:1,nats://b:CANARY@c:2", "nats://***@a:1,nats://b:***@c:2"),
            ("found string \"nats://a:CANARY@h\", expected", "found string \"nats://a:***@h\", expected"),
            ("CANARY.jwt:/ip4/127.0.0.1/tcp/1234/http", "***:/ip4/127.0.0.1/tcp/1234/http"),
            ("CANARY:http://127.0.0.1:1234", "***:http://127.0.0.1:1234"),
            ("http://h/rpc/v1?token=CANARY", "http://h/rpc/v1?token=***"),
            ("http://127.0.0.1:1234/rpc/v1", "http://127.0.0.1:1234/rpc/v1"),
            ("/mnt/a:/mnt/b", "/mnt/a:/mnt/b"),
        ] {
            assert_eq!(without_passwords(text), hidden);
        }
    }

    #[test]
    fn a_key_that_is_named_so_is_hidden_and_the_place_of_a_secret_is_not() {
        assert_eq!(shown("s3.secret_access_key", json!("CANARY")), json!("***"));
        assert_eq!(shown("chain.token", json!(17)), json!("***"));
        assert_eq!(shown("chain.token_file", json!("/etc/token")), json!("/etc/token"));
        assert_eq!(shown("chain.token", Value::Null), Value::Null);
        assert_eq!(shown("env", json!({"A_PASSWORD": "CANARY", "B": "b"})), json!({"A_PASSWORD": "***", "B": "b"}));
    }
}
