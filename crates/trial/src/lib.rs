//! Shows that nothing is ever lost, doubled or out of order. Nothing imports this crate.

pub mod faults;
