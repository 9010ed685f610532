//! The stages of sealing as a child process, and verification as a library.
pub mod job;
pub mod verify;
