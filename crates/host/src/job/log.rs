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

    /// Starts the file anew once it is too long: a child that repeats itself must not fill the disk.
    pub(super) fn cut_if_long(&mut self) {
        if let Err(error) = self.cut_above(LOG_BYTES_MAX) {
            tracing::warn!(%error, "cut a job's log");
        }
    }

    fn cut_above(&mut self, bytes_max: u64) -> io::Result<()> {
        let bytes = self.file.metadata()?.len();
        if bytes > bytes_max {
            // Every handle appends, so the child goes on at the new end.
            self.file.set_len(0)?;
            writeln!(self.file, "[{bytes} bytes of log were dropped here]")?;
        }
        Ok(())
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
