//! What Sealstream asks of the chain, and how it speaks to it without ever saying a thing twice.
//!
//! * **words**: [`address`], [`cids`], [`randomness`], [`params`], [`message`]: bytes the chain defines;
//! * **asking**: [`api`] is the trait, [`rpc`] the one implementation (Lotus, Forest and Venus), [`wire`] and [`json`]
//!   the shapes on the wire, which the embedded devnet serves from the same types;
//! * **telling**: [`key`] signs, [`sender`] journals and pushes;
//! * **watching**: [`follower`] writes the head and the deadlines into bucket `CHAIN`; [`fork`] notices that the chain
//!   is another one than before;
//! * **rules**: [`policy`], what no node tells; [`due`], by when a sector's next message must be there.

pub mod address;
pub mod api;
pub mod cids;
pub mod due;
pub mod error;
pub mod follower;
pub mod fork;
pub mod json;
pub mod key;
pub mod message;
pub mod params;
pub mod policy;
pub mod randomness;
pub mod rpc;
pub mod sender;
pub mod wire;

pub use api::ChainApi;
pub use error::{ChainError, Fault};
