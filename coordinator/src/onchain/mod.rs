//! What passes between a sector and the chain: two messages and the seed between them.
//!
//! ```text
//! batcher   offers ─► batch::cut ─► carrier
//! carrier   checks each sector, simulates the whole, has each join by compare-and-set, then the sender signs
//! waits     every new head: pumps the outboxes, tells what landed, draws seeds that are due
//! forks     a head that is on another branch: what landed there is compared with the chain again
//! ```

mod batcher;
mod carrier;
mod forks;
mod landings;
mod pre_commit;
mod prove_commit;
mod waits;

pub(crate) use self::{batcher::Batcher, carrier::Carrier, waits::Waits};
