//! What cannot be read is kept for a person: `aside/<sequence>.<subject>` in the data folder, the bytes as they came.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    dir: PathBuf,
}

impl Aside {
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let dir = data.join("aside");
        host::durable::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps a message; where. Keeping it again is the same file.
    pub(crate) fn keep(&self, sequence: u64, subject: &str, payload: &[u8]) -> io::Result<PathBuf> {
        let path = self.dir.join(format!("{sequence}.{}", file_name(subject)));
        host::durable::write(&path, payload)?;
        Ok(path)
    }
}

/// A subject comes off a wire: nothing of it may lead out of the folder.
fn file_name(subject: &str) -> String {
    const LONGEST: usize = 128;
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    subject.chars().take(LONGEST).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_came_and_stays_in_the_folder() {
        let data = tempfile::tempdir().unwrap();
        let aside = Aside::open(data.path()).unwrap();
        for _ in 0..2 {
            let path = aside.keep(7, "res.a/../../b.f01000.1", b"{\"not\": ").unwrap();
            assert_eq!(path, data.path().join("aside/7.res.a_.._.._b.f01000.1"));
            assert_eq!(std::fs::read(&path).unwrap(), b"{\"not\": ");
        }
    }
}
