//! A disk that forgets what was not synced, for tests of what an acknowledgement is worth.
//!
//! [`Disk`] is a file system in memory with two images: what programs see, and what would be left after a power cut.
//! [`Mounted`] shows it to the kernel through `/dev/fuse`, so that a real nats-server can keep its store on it.
//! [`Disk::lose_power`] puts the second image in place of the first.
//!
//! What survives is what ext4 with its defaults (`data=ordered`, `auto_da_alloc`) keeps in the worst case, in which the
//! kernel never writes anything back by itself:
//!
//! * `fsync` of a file keeps its content and its length. A write to a file opened with `O_DSYNC` or `O_SYNC` does, too.
//! * Any `fsync`, of a file or a folder, commits the journal: every creation, renaming, removal and shortening before it
//!   survives, in all folders. The *content* of other files does not: one that was created and never synced is there and
//!   empty, or as it was when it was synced last.
//! * Renaming over an existing file keeps the content of the new one, once the journal is committed: nobody finds an
//!   empty file in the place of an old one.
//! * Without any `fsync` after them, creations, renamings and removals are undone.
//!
//! No bit rots and no sector tears: a write is lost whole or not at all.

mod mount;
mod requests;
mod tree;
mod wire;

pub use mount::{Mounted, why_not};
pub use tree::Disk;
