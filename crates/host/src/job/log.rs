//! The file that takes a child's stdout and stderr, bounded.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    file: File,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)? })
    }

    /// For the child. It writes to the file itself, not through this process, so that its log goes on without us.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Starts the file anew once it is too long: a child that repeats itself must not fill the disk. Answers whether it
    /// was, so that a flood is looked at more often.
    pub(super) fn cut_if_long(&mut self) -> bool {
        self.cut_above(LOG_BYTES_MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "cut a job's log");
            false
        })
    }

    fn cut_above(&mut self, bytes_max: u64) -> io::Result<bool> {
        let bytes = self.file.metadata()?.len();
        let is_long = bytes > bytes_max;
        if is_long {
            // Every handle appends, so the child goes on at the new end.
            self.file.set_len(0)?;
            writeln!(self.file, "[{bytes} bytes of log were dropped here]")?;
        }
        Ok(is_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_starts_anew_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stderr.log");
        let mut log = Log::open(&path).unwrap();
        let mut child = log.handle().unwrap();
        child.write_all(b"0123456789").unwrap();
        log.cut_above(10).unwrap();
        child.write_all(b"x").unwrap();
        log.cut_above(10).unwrap();
        child.write_all(b"last words").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "[11 bytes of log were dropped here]\nlast words");
    }
}
