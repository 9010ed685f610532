//! Names of things: miners, sectors, agents, places, stores.
//!
//! Every name is checked where it enters, since all of them become tokens of NATS subjects and keys of buckets:
//! a `.`, `*`, `>` or a space in one would address something else.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A chain epoch: 30 s on mainnet, whatever the network says elsewhere. Negative on a very young chain.
pub type Epoch = i64;

/// A name that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} \"{value}\" is not valid: {rule}")]
pub struct BadName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

/// A storage miner actor by its ID address, printed as `f01000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MinerId(pub u64);

impl fmt::Display for MinerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f0{}", self.0)
    }
}

impl FromStr for MinerId {
    type Err = BadName;

    /// Accepts `f01000` and `t01000`: the letter only says which network printed it.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad =
            || BadName { what: "miner", value: text.to_owned(), rule: "write it as an ID address, for example f01000" };
        let digits = text.strip_prefix("f0").or_else(|| text.strip_prefix("t0")).ok_or_else(bad)?;
        if digits.is_empty()
            || !digits.bytes().all(|b| b.is_ascii_digit())
            || (digits.len() > 1 && digits.starts_with('0'))
        {
            return Err(bad());
        }
        digits.parse().map(MinerId).map_err(|_| bad())
    }
}

/// A sector's number within its miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SectorNumber(pub u64);

impl fmt::Display for SectorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One sector of one miner, printed as `f01000/17` for people and `f01000.17` in keys and subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SectorId {
    /// The miner that owns it.
    pub miner: MinerId,
    /// Its number, never used twice by one miner.
    pub number: SectorNumber,
}

impl SectorId {
    /// The key in buckets `SECTORS`, `NUMBERS` and `LOCKS`, and the two tokens in subjects.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}", self.miner, self.number)
    }

    /// Reads [`SectorId::key`] back.
    pub fn from_key(key: &str) -> Result<Self, BadName> {
        Self::parse(key, '.')
    }

    /// The folder and file name lotus and damocles use: `s-t01000-17`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("s-t0{}-{}", self.miner.0, self.number)
    }

    fn parse(text: &str, separator: char) -> Result<Self, BadName> {
        let bad = || BadName {
            what: "sector",
            value: text.to_owned(),
            rule: "write it as miner and number, for example f01000/17",
        };
        let (miner, number) = text.split_once(separator).ok_or_else(bad)?;
        if number.is_empty()
            || !number.bytes().all(|b| b.is_ascii_digit())
            || (number.len() > 1 && number.starts_with('0'))
        {
            return Err(bad());
        }
        Ok(Self { miner: miner.parse()?, number: SectorNumber(number.parse().map_err(|_| bad())?) })
    }
}

impl fmt::Display for SectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.miner, self.number)
    }
}

impl FromStr for SectorId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::parse(text, '/')
    }
}

macro_rules! string_serde {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
string_serde!(MinerId, SectorId, AgentId, Place);

const TOKEN_LEN_MAX: usize = 32;
const TOKEN_RULE: &str = "use 1 to 32 characters of a-z, 0-9 and -";

fn token(what: &'static str, text: &str) -> Result<String, BadName> {
    let fits = (1..=TOKEN_LEN_MAX).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Ok(text.to_owned())
    } else {
        Err(BadName { what, value: text.to_owned(), rule: TOKEN_RULE })
    }
}

/// One running `sealer-agent`, unique in the cluster: `[a-z0-9-]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(String);

impl AgentId {
    /// The name as a subject token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AgentId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        token("agent", text).map(Self)
    }
}

/// The set of stores that are opened together, by default the host: `[a-z0-9-]{1,32}`, and never `any`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place(String);

impl Place {
    /// The name as a subject token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Place {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text == "any" {
            return Err(BadName {
                what: "place",
                value: text.to_owned(),
                rule: "`any` is reserved for work that has no place yet",
            });
        }
        token("place", text).map(Self)
    }
}

/// A store by the UUID in its identity file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub uuid::Uuid);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of the queue. A total loss, or a restore from a backup, begins the next one: what was claimed, locked or
/// reported in an earlier one does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The life that `coordinator init` and a first start begin.
    pub const FIRST: Self = Self(1);

    /// The life after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`, zero when the clocks disagree.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
