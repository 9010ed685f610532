//! Parameters of actor methods, as CBOR.
pub use fil_actor_miner_state::v18::SectorPreCommitInfo;
