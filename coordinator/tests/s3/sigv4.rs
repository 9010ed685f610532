//! Signatures of AWS, version 4, as the service checks them: in a header, or in the query of an address.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderMap, request::Parts};
use host::clock::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};

/// Whose clock is off by more is refused.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// What a signature is over, and what it is said to be.
struct Signed<'a> {
    key_id: &'a str,
    /// `<day>/<region>/s3/aws4_request`.
    scope: &'a str,
    date: &'a str,
    headers: &'a str,
    payload: &'a str,
    signature: &'a str,
    holds_for: Duration,
}

/// Why a request is not let in.
pub(super) fn check(parts: &Parts, body: &[u8], key_id: &str, secret: &str) -> Result<(), String> {
    let query = pairs(parts.uri.query().unwrap_or_default());
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = if let Some(signature) = query.get("X-Amz-Signature") {
        let of = |name: &str| query.get(name).map(String::as_str).ok_or_else(|| format!("no {name}"));
        let (key_id, scope) = of("X-Amz-Credential")?.split_once('/').ok_or("a credential without a scope")?;
        Signed {
            key_id,
            scope,
            date: of("X-Amz-Date")?,
            headers: of("X-Amz-SignedHeaders")?,
            payload: "UNSIGNED-PAYLOAD",
            signature,
            holds_for: Duration::from_secs(of("X-Amz-Expires")?.parse().map_err(|_| "no number of seconds")?),
        }
    } else {
        let rest = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or("it is not signed")?;
        let fields: BTreeMap<_, _> = rest.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let of = |name: &str| fields.get(name).copied().ok_or_else(|| format!("no {name}"));
        let (key_id, scope) = of("Credential")?.split_once('/').ok_or("a credential without a scope")?;
        let payload = header("x-amz-content-sha256");
        if payload != "UNSIGNED-PAYLOAD" && payload != hex::encode(Sha256::digest(body)) {
            return Err("the payload is not the one that was signed".to_owned());
        }
        let (headers, signature) = (of("SignedHeaders")?, of("Signature")?);
        Signed { key_id, scope, date: header("x-amz-date"), headers, payload, signature, holds_for: SKEW_MAX }
    };
    if signed.key_id != key_id {
        return Err(format!("nobody has the key {}", signed.key_id));
    }
    let age = i128::from(SystemClock.now_unix_ms() / 1000) - i128::from(seconds(signed.date)?);
    if age > i128::from(signed.holds_for.as_secs()) || -age > i128::from(SKEW_MAX.as_secs()) {
        return Err("Request has expired".to_owned());
    }
    let made = signature(parts.method.as_str(), parts.uri.path(), parts.uri.query(), &parts.headers, &signed, secret);
    if made == signed.signature { Ok(()) } else { Err("another signature was made of it".to_owned()) }
}

fn signature(
    method: &str,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    signed: &Signed<'_>,
    secret: &str,
) -> String {
    let mut pairs: Vec<String> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    pairs.sort_unstable();
    let header_lines: String = signed
        .headers
        .split(';')
        .map(|name| format!("{name}:{}\n", headers.get(name).map_or("", |value| value.to_str().unwrap().trim())))
        .collect();
    let request =
        format!("{method}\n{path}\n{}\n{header_lines}\n{}\n{}", pairs.join("&"), signed.headers, signed.payload);
    let digest = hex::encode(Sha256::digest(request.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{digest}", signed.date, signed.scope);
    let first = format!("AWS4{secret}").into_bytes();
    let key = signed.scope.split('/').fold(first, |key, part| hmac(&key, part.as_bytes()).to_vec());
    hex::encode(hmac(&key, text.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

/// Seconds since 1970 of `20130524T000000Z`.
fn seconds(date: &str) -> Result<i64, String> {
    let bad = || format!("\"{date}\" is no date");
    let number = |range: std::ops::Range<usize>| date.get(range).and_then(|d| d.parse::<i64>().ok()).ok_or_else(bad);
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    // Days from civil: years begin with March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A query's keys and values.
pub(super) fn pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

/// A text with its percent signs resolved.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = others.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The examples of AWS's own pages: what this module takes for a signature is what AWS does.
#[test]
fn the_published_examples_have_the_published_signatures() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let (scope, date) = ("20130524/us-east-1/s3/aws4_request", "20130524T000000Z");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut headers = HeaderMap::new();
    headers.insert("host", "examplebucket.s3.amazonaws.com".parse().unwrap());
    headers.insert("range", "bytes=0-9".parse().unwrap());
    headers.insert("x-amz-content-sha256", empty.parse().unwrap());
    headers.insert("x-amz-date", date.parse().unwrap());
    let signed = |headers, payload| Signed {
        key_id: "AKIAIOSFODNN7EXAMPLE",
        scope,
        date,
        headers,
        payload,
        signature: "",
        holds_for: SKEW_MAX,
    };
    let in_header = signed("host;range;x-amz-content-sha256;x-amz-date", empty);
    assert_eq!(
        signature("GET", "/test.txt", None, &headers, &in_header, secret),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
                 aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=x";
    let in_query = signed("host", "UNSIGNED-PAYLOAD");
    assert_eq!(
        signature("GET", "/test.txt", Some(query), &headers, &in_query, secret),
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
    assert_eq!(seconds(date), Ok(1_369_353_600));
}
