//! Files of JSON lines: appended by one process, read by the checker.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

/// The longest line: a full partition's task, and a chain message with its base64.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A file that lines are appended to. They are handed to the system in one piece before [`LineLog::note`] returns, so a
/// harness that is killed leaves what it knew, and two processes may append to one file.
#[derive(Debug)]
pub struct LineLog<T> {
    path: PathBuf,
    file: Mutex<File>,
    kind: PhantomData<fn(T)>,
}

impl<T: Serialize> LineLog<T> {
    /// Opens `folder/name` to append, making both where they are missing.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        host::durable::create_dir_all(folder)?;
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file: Mutex::new(file), kind: PhantomData })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line.
    pub fn note(&self, line: &T) -> io::Result<()> {
        self.note_all([line])
    }

    /// Appends lines, together.
    pub fn note_all<'a>(&self, lines: impl IntoIterator<Item = &'a T>) -> io::Result<()>
    where
        T: 'a,
    {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        self.file().write_all(&text)
    }

    /// Returns once everything is on disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file().sync_all()
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line as it was read.
#[derive(Debug, Clone)]
pub struct Line<T> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// What it says.
    pub value: T,
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says something else.
    #[error("{}:{number} is no line of this file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line.
        number: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Hands every line of `folder/name` to `take`, in order. A file that is not there has none. The last line may lack its
/// end, if its writer was killed in the middle of it: then it does not count.
pub fn read_lines<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    mut take: impl FnMut(Line<T>),
) -> Result<u64, BadLine> {
    let path = folder.join(name);
    let failed = |source| BadLine::Io { path: path.clone(), source };
    let mut reader = match File::open(&path) {
        Ok(file) => BufReader::with_capacity(1 << 20, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let (mut number, mut text) = (0u64, Vec::new());
    loop {
        text.clear();
        let mut limited = io::Read::take(&mut reader, LINE_BYTES_MAX);
        limited.read_until(b'\n', &mut text).map_err(failed)?;
        if text.last() != Some(&b'\n') {
            return Ok(number);
        }
        number += 1;
        let value = serde_json::from_slice(&text).map_err(|source| BadLine::Malformed {
            path: path.clone(),
            number,
            source,
        })?;
        take(Line { number, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{RUN, RunLine};

    #[test]
    fn what_is_noted_is_read_back_and_half_a_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let log = LineLog::open(dir.path(), RUN).unwrap();
        let line = RunLine::Submitted { at: 5, sector: "f01000/1".to_owned() };
        log.note_all([&line, &line]).unwrap();
        let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
        file.write_all(br#"{"is":"subm"#).unwrap();
        let mut read = Vec::new();
        let count = read_lines(dir.path(), RUN, |line: Line<RunLine>| read.push((line.number, line.value))).unwrap();
        assert_eq!((count, read), (2, vec![(1, line.clone()), (2, line)]));
    }

    #[test]
    fn a_line_of_another_kind_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        host::durable::write(&dir.path().join(RUN), b"{\"is\":\"over\",\"at\":1,\"settled\":true}\n{}\n").unwrap();
        let error = read_lines(dir.path(), RUN, |_: Line<RunLine>| {}).unwrap_err();
        assert!(matches!(error, BadLine::Malformed { number: 2, .. }), "{error}");
    }
}
