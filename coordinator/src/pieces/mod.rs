//! Bytes of people: pieces on their way into sectors, unsealed data on its way out.
//!
//! Both are files in the data folder, served over HTTP. A piece is stored under its digest and becomes visible only
//! whole and synced, so what an agent fetches is what was hashed.

mod http;
mod store;
mod unseals;

pub(crate) use self::{
    http::{Listener, Read, Refusal, Stored},
    store::Pieces,
    unseals::Unseals,
};
