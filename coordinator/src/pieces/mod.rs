//! Bytes of people: pieces on their way into sectors, unsealed data on its way out.
//!
//! Both are files in the data folder, served over HTTP, or objects in a bucket, to which whoever asks is sent. A piece is
//! stored under its digest and becomes visible only whole and synced, so what an agent fetches is what was hashed.

mod address;
mod bucket;
mod config;
mod depot;
mod gauge;
mod http;
mod store;
mod unfinished;
mod unseals;
mod upload;

#[cfg(test)]
pub(crate) use self::config::Secret;
pub(crate) use self::{
    address::{NoS3Url, S3Url, SCHEME},
    bucket::BucketError,
    config::PiecesSection,
    depot::Depot,
    http::{Listener, Read, Refusal, Stored},
    store::Pieces,
    unseals::{Order, Unseals},
};
