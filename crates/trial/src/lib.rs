//! Shows that nothing is ever lost, doubled or out of order. Nothing imports this crate.
//!
//! * [`evidence`]: what a run leaves behind, in files;
//! * [`recorder`]: writes the queue's part of it while the run goes on;
//! * [`faults`]: the real programs, and everything that can happen to them;
//! * [`checker`]: reads it afterwards, and names every invariant that was violated;
//! * `sim` (feature `sim`): whole clusters on virtual time, from one seed.

pub mod checker;
pub mod evidence;
pub mod faults;
pub mod lossy;
pub mod recorder;
#[cfg(feature = "sim")]
pub mod sim;
