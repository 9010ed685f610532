//! What Sealstream's processes say to each other.
//!
//! This is the only crate that names a subject, a stream, a bucket or a message. Three kinds of thing live here:
//!
//! * **words**: [`id`], [`stage`], [`proof`]: the nouns that every process shares;
//! * **texts**: [`subject`], [`message`], [`sector`], [`records`], [`control`], [`inventory`]: what is written on a subject or under
//!   a key, in the versioned envelope of [`text`], with golden files that hold the format still;
//! * **the post office**: [`layout`] creates streams and buckets and reports drift; [`nats`], [`pull`], [`kv`],
//!   [`lease`], [`artifact`], [`call`], [`report`], [`whole`] and [`server`] wrap the client so that its known traps cannot be
//!   stepped into.
//!
//! It imports nothing else of ours.

pub mod artifact;
pub mod attach;
pub mod call;
pub mod control;
mod delivery;
pub mod duty;
pub mod error;
pub mod id;
pub mod inventory;
pub mod kv;
pub mod layout;
pub mod lease;
pub mod lost;
pub mod message;
#[cfg(feature = "model")]
pub mod model;
pub mod nats;
pub mod proof;
pub mod pull;
pub mod records;
pub mod report;
mod request;
pub mod sector;
pub mod server;
pub mod stage;
pub mod subject;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod whole;
