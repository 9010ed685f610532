//! Programs that kill themselves at failpoints to which the fault suite has no road: each is started again, and all
//! comes to its right end. RELIABILITY.md counts a failpoint as died at with every run if a test here names it.
//!
//! The programs have to hold failpoints: `.ci/test` builds them so before.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod attach;
mod backup;
mod bucket;
#[path = "../provider/cluster.rs"]
#[expect(dead_code, reason = "a prover that hangs is for the tests of attaching")]
mod cluster;
mod first_life;
#[path = "../provider/folder.rs"]
#[expect(dead_code, reason = "sectors that are not what they seem are for the tests of attaching")]
mod folder;
mod messages;
mod posts;
#[path = "../s3/mod.rs"]
#[expect(dead_code, reason = "faults are for the tests within the crate")]
mod s3;
mod succession;
mod world;
