//! The other agents of this host: what they hold of what nobody can share, as each writes it down.
//!
//! ```text
//! <home>/machine/lock          held while a seat is taken: nobody else takes one meanwhile
//! <home>/machine/<agent>.json  memory, GPUs and locks that the agent's jobs hold; what it serves that needs any
//! ```
//!
//! A page counts while the process that wrote it lives, or a prover that outlived it. Whoever adopts that prover enters it
//! on a page of its own. Processors are not on it: too many jobs on those are slow, where too many on a GPU or in memory fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use host::durable::{self, FileLock};
use serde::{Deserialize, Serialize};
use streams::{
    id::AgentId,
    message::{Text, decode, encode},
};

use super::activity::Activity;
use crate::{job_dir, process::ProcessId};

/// What one agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    process: ProcessId,
    held: Held,
    serves: BTreeMap<Activity, Wants>,
}

impl Text for Page {
    const KIND: &'static str = "machine-page";
    const VERSION: u64 = 1;
}

/// What jobs hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) memory_bytes: u64,
    /// As CUDA names them.
    pub(crate) gpus: BTreeSet<String>,
    /// How many jobs hold each.
    pub(crate) locks: BTreeMap<String, u32>,
}

/// What a kind of work takes that others may wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wants {
    pub(crate) gpu: bool,
    pub(crate) locks: BTreeSet<String>,
}

/// What all others say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) held: Held,
    pub(crate) serve: BTreeMap<Activity, Wants>,
}

/// One agent's place among those of its host.
#[derive(Debug)]
pub(crate) struct Neighbours {
    home: PathBuf,
    dir: PathBuf,
    own: PathBuf,
    process: ProcessId,
}

impl Neighbours {
    /// Of the agents that have this home.
    pub(crate) fn open(home: &Path, agent: &AgentId) -> io::Result<Self> {
        let dir = home.join("machine");
        durable::create_dir_all(&dir)?;
        let own = dir.join(format!("{agent}.json"));
        let neighbours = Self { home: home.to_owned(), dir, own, process: ProcessId::current()? };
        neighbours.sweep()?;
        Ok(neighbours)
    }

    /// Removes the pages of agents that are gone.
    fn sweep(&self) -> io::Result<()> {
        let _turn = self.turn()?;
        for (path, page) in self.pages()? {
            if !self.counts(&page)? {
                durable::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn counts(&self, page: &Page) -> io::Result<bool> {
        Ok(page.process.is_alive() || job_dir::is_outlived(&self.home, &page.process)?)
    }

    /// Waits for its turn, which lasts as long as the answer lives: no longer than it takes to write a page.
    pub(crate) fn turn(&self) -> io::Result<FileLock> {
        durable::lock_in_turn(&self.dir.join("lock"))
    }

    /// Writes the own page.
    pub(crate) fn write(&self, held: Held, serves: BTreeMap<Activity, Wants>) -> io::Result<()> {
        let page = Page { process: self.process.clone(), held, serves };
        durable::write(&self.own, &encode(&page).map_err(io::Error::other)?)
    }

    /// What the others hold and serve.
    pub(crate) fn others(&self) -> io::Result<Others> {
        let mut others = Others::default();
        for (_, page) in self.pages()? {
            if self.counts(&page)? {
                others.add(page);
            }
        }
        Ok(others)
    }

    /// The others' pages. One that cannot be read, as one of a later version, says nothing.
    fn pages(&self) -> io::Result<Vec<(PathBuf, Page)>> {
        let mut pages = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path == self.own || path.extension() != Some(OsStr::new("json")) {
                continue;
            }
            let Some(bytes) = durable::read(&path)? else { continue };
            match decode(&bytes) {
                Ok(page) => pages.push((path, page)),
                Err(error) => tracing::debug!("read {}: {error}", path.display()),
            }
        }
        Ok(pages)
    }
}

impl Others {
    fn add(&mut self, page: Page) {
        let Held { memory_bytes, gpus, locks } = page.held;
        self.held.memory_bytes = self.held.memory_bytes.saturating_add(memory_bytes);
        self.held.gpus.extend(gpus);
        for (lock, holders) in locks {
            let all = self.held.locks.entry(lock).or_default();
            *all = all.saturating_add(holders);
        }
        for (activity, wants) in page.serves {
            let all = self.serve.entry(activity).or_default();
            all.gpu |= wants.gpu;
            all.locks.extend(wants.locks);
        }
    }
}

#[cfg(test)]
mod tests {
    use streams::stage::Stage;

    use super::*;

    fn held(gpu: &str) -> Held {
        let locks = BTreeMap::from([("disk".to_owned(), 1)]);
        Held { memory_bytes: 5, gpus: BTreeSet::from([gpu.to_owned()]), locks }
    }

    #[test]
    fn pages_add_up_as_long_as_their_agents_live() {
        let home = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| Neighbours::open(home.path(), &name.parse().unwrap()).unwrap());
        let serves = BTreeMap::from([(Activity::Stage(Stage::C2), Wants { gpu: true, ..Wants::default() })]);
        a.write(held("0"), serves.clone()).unwrap();
        b.write(held("1"), BTreeMap::new()).unwrap();
        let all = c.others().unwrap();
        assert_eq!((all.held.memory_bytes, all.held.gpus.len(), all.held.locks["disk"]), (10, 2, 2));
        assert_eq!(all.serve, serves);
        assert_eq!(a.others().unwrap().held, held("1"), "its own page is not another's");

        let gone = Neighbours { process: ProcessId { started: 1, ..b.process.clone() }, ..b };
        gone.write(held("1"), BTreeMap::new()).unwrap();
        assert_eq!(c.others().unwrap().held, held("0"), "who died holds nothing");
        assert!(gone.own.is_file());
        Neighbours::open(home.path(), &"d".parse().unwrap()).unwrap();
        assert!(a.own.is_file() && !gone.own.exists(), "the next agent clears it away");
        durable::write(&gone.own, b"{}").unwrap();
        assert_eq!(c.others().unwrap().held, held("0"), "what cannot be read says nothing");
    }
}
