//! What Sealstream asks of the chain.
pub mod api;
pub mod error;
pub mod params;
