//! The kernel's words: FUSE 7.31, as `linux/fuse.h` lays it out, in the machine's byte order.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rustix::io::Errno;

/// Bytes of a request's header, and of an answer's.
pub(super) const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
/// The largest write that the kernel may send at once.
pub(super) const WRITE_MAX: u32 = 128 << 10;

/// Of the requests, by number, those that are answered.
pub(super) mod op {
    pub(in crate::lossy) const LOOKUP: u32 = 1;
    pub(in crate::lossy) const FORGET: u32 = 2;
    pub(in crate::lossy) const GETATTR: u32 = 3;
    pub(in crate::lossy) const SETATTR: u32 = 4;
    pub(in crate::lossy) const MKNOD: u32 = 8;
    pub(in crate::lossy) const MKDIR: u32 = 9;
    pub(in crate::lossy) const UNLINK: u32 = 10;
    pub(in crate::lossy) const RMDIR: u32 = 11;
    pub(in crate::lossy) const RENAME: u32 = 12;
    pub(in crate::lossy) const OPEN: u32 = 14;
    pub(in crate::lossy) const READ: u32 = 15;
    pub(in crate::lossy) const WRITE: u32 = 16;
    pub(in crate::lossy) const STATFS: u32 = 17;
    pub(in crate::lossy) const RELEASE: u32 = 18;
    pub(in crate::lossy) const FSYNC: u32 = 20;
    pub(in crate::lossy) const FLUSH: u32 = 25;
    pub(in crate::lossy) const INIT: u32 = 26;
    pub(in crate::lossy) const OPENDIR: u32 = 27;
    pub(in crate::lossy) const READDIR: u32 = 28;
    pub(in crate::lossy) const RELEASEDIR: u32 = 29;
    pub(in crate::lossy) const FSYNCDIR: u32 = 30;
    pub(in crate::lossy) const CREATE: u32 = 35;
    pub(in crate::lossy) const INTERRUPT: u32 = 36;
    pub(in crate::lossy) const BATCH_FORGET: u32 = 42;
    pub(in crate::lossy) const RENAME2: u32 = 45;
}

/// A request, read from its front.
#[derive(Debug)]
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| Errno::INVAL)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| Errno::INVAL)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// A name, which ends with a zero.
    pub(super) fn name(&mut self) -> Result<&'a OsStr, Errno> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let name = self.bytes(end)?;
        self.bytes(1)?;
        Ok(OsStr::from_bytes(name))
    }
}

/// An answer's body.
#[derive(Debug, Default)]
pub(super) struct Put(Vec<u8>);

impl Put {
    pub(super) fn u32s(mut self, numbers: &[u32]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    pub(super) fn u64s(mut self, numbers: &[u64]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn append(self, other: Self) -> Self {
        self.bytes(&other.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Zeros up to a multiple of eight.
    pub(super) fn padded(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }

    /// The answer with its header.
    pub(super) fn into_answer(self, unique: u64) -> Vec<u8> {
        answer(unique, 0, &self.0)
    }
}

/// The answer to a request that failed.
pub(super) fn refusal(unique: u64, errno: Errno) -> Vec<u8> {
    answer(unique, errno.raw_os_error().saturating_neg(), &[])
}

fn answer(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(OUT_HEADER + body.len()).unwrap_or(u32::MAX);
    let head = Put::default().u32s(&[length]).bytes(&error.to_ne_bytes()).u64s(&[unique]);
    head.bytes(body).0
}
