//! Decides what happens next to a sector, and speaks to the chain about it.
//!
//! Three storeys; the upper may use the lower, never the reverse:
//!
//! ```text
//! wire up, talk to people   main  cli  config  app  command/  view/
//! do I/O                    registry  driver  dispatch  results  reconciler  numbers  tickets  submission
//!                           onchain/  head  miners  control  pieces/
//! decide                    sector/  batch  packing
//! ```

mod batch;
mod packing;
mod sector;

fn main() {}
