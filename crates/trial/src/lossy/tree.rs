//! The two images: what is seen, and what would be left.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

/// The root folder.
pub(super) const ROOT: u64 = 1;
/// The longest file.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A disk in memory. Cheap to clone: clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    tree: Arc<Mutex<Tree>>,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was not synced. Nothing may have it mounted: the kernel would remember.
    pub fn lose_power(&self) {
        self.lock().lose_power();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Entries = BTreeMap<OsString, u64>;

/// A file or a folder as it is seen.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Content),
    Folder(Entries),
}

/// A file's bytes, and those of them that are on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Ranges written since the last sync.
    dirty: Vec<(usize, usize)>,
    /// The shortest it has been since then.
    shortest: Option<usize>,
    /// It was renamed over another file: the next commit keeps it.
    replaces: bool,
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.now
    }

    fn sync(&mut self) {
        if let Some(shortest) = self.shortest.take() {
            self.synced.truncate(shortest);
        }
        self.synced.resize(self.now.len(), 0);
        for (from, to) in std::mem::take(&mut self.dirty) {
            let to = to.min(self.now.len());
            if let (Some(old), Some(new)) = (self.synced.get_mut(from..to), self.now.get(from..to)) {
                old.copy_from_slice(new);
            }
        }
        self.replaces = false;
    }

    fn set_len(&mut self, len: usize) {
        let shortest = self.shortest.map_or(len, |shortest| shortest.min(len));
        self.shortest = Some(shortest.min(self.now.len()));
        self.now.resize(len, 0);
    }

    fn write(&mut self, from: usize, bytes: &[u8]) {
        let to = from.saturating_add(bytes.len());
        if self.now.len() < to {
            self.now.resize(to, 0);
        }
        if let Some(part) = self.now.get_mut(from..to) {
            part.copy_from_slice(bytes);
        }
        match self.dirty.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => self.dirty.push((from, to)),
        }
    }
}

/// The disk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Folders as the journal has them.
    committed: BTreeMap<u64, Entries>,
}

impl Default for Tree {
    fn default() -> Self {
        let root = BTreeMap::from([(ROOT, Node::Folder(Entries::new()))]);
        Self { nodes: root, next: ROOT + 1, committed: BTreeMap::from([(ROOT, Entries::new())]) }
    }
}

impl Tree {
    pub(super) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::NOENT)
    }

    pub(super) fn find(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(folder)?.get(name).copied().ok_or(Errno::NOENT)
    }

    pub(super) fn folder(&self, ino: u64) -> Result<&Entries, Errno> {
        match self.node(ino)? {
            Node::Folder(entries) => Ok(entries),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn folder_mut(&mut self, ino: u64) -> Result<&mut Entries, Errno> {
        match self.nodes.get_mut(&ino).ok_or(Errno::NOENT)? {
            Node::Folder(entries) => Ok(entries),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn file(&self, ino: u64) -> Result<&Content, Errno> {
        match self.node(ino)? {
            Node::File(content) => Ok(content),
            Node::Folder(_) => Err(Errno::ISDIR),
        }
    }

    fn file_mut(&mut self, ino: u64) -> Result<&mut Content, Errno> {
        match self.nodes.get_mut(&ino).ok_or(Errno::NOENT)? {
            Node::File(content) => Ok(content),
            Node::Folder(_) => Err(Errno::ISDIR),
        }
    }

    pub(super) fn create(&mut self, folder: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        let ino = self.next;
        let entries = self.folder_mut(folder)?;
        if entries.contains_key(name) {
            return Err(Errno::EXIST);
        }
        entries.insert(name.to_owned(), ino);
        self.nodes.insert(ino, node);
        self.next += 1;
        Ok(ino)
    }

    /// Removes an entry. Its node stays, for whoever has it open.
    pub(super) fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<(), Errno> {
        let ino = self.find(folder, name)?;
        match (self.node(ino)?, is_folder) {
            (Node::Folder(entries), true) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
            (Node::Folder(_), false) => return Err(Errno::ISDIR),
            (Node::File(_), true) => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.folder_mut(folder)?.remove(name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let ino = self.find(from.0, from.1)?;
        if let Ok(old) = self.find(to.0, to.1) {
            if old == ino {
                return Ok(());
            }
            let is_folder = matches!(self.node(old)?, Node::Folder(_));
            self.remove(to.0, to.1, is_folder)?;
            if let Ok(content) = self.file_mut(ino) {
                content.replaces = true;
            }
        }
        self.folder_mut(from.0)?.remove(from.1);
        self.folder_mut(to.0)?.insert(to.1.to_owned(), ino);
        Ok(())
    }

    pub(super) fn write(&mut self, ino: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).ok_or(Errno::FBIG)?;
        if end > FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        self.file_mut(ino)?.write(offset, bytes);
        Ok(())
    }

    pub(super) fn set_len(&mut self, ino: u64, len: u64) -> Result<(), Errno> {
        let len = usize::try_from(len.min(FILE_BYTES_MAX + 1)).map_err(|_| Errno::FBIG)?;
        if u64::try_from(len).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        self.file_mut(ino)?.set_len(len);
        Ok(())
    }

    /// Keeps a file's content, and commits the journal.
    pub(super) fn sync(&mut self, ino: u64) {
        if let Ok(content) = self.file_mut(ino) {
            content.sync();
        }
        self.commit();
    }

    /// Every folder survives as it is seen now.
    pub(super) fn commit(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(content) = node {
                if content.replaces {
                    content.sync();
                }
                if let Some(shortest) = content.shortest.take() {
                    content.synced.truncate(shortest);
                    // What it grew by afterwards is as unsynced as before.
                    content.shortest = None;
                }
            }
        }
        let folder = |(ino, node): (&u64, &Node)| match node {
            Node::Folder(entries) => Some((*ino, entries.clone())),
            Node::File(_) => None,
        };
        self.committed = self.nodes.iter().filter_map(folder).collect();
    }

    fn lose_power(&mut self) {
        let mut left = BTreeMap::new();
        for (ino, entries) in &self.committed {
            left.insert(*ino, Node::Folder(entries.clone()));
            for child in entries.values() {
                if let Some(Node::File(content)) = self.nodes.get(child) {
                    let synced = content.synced.clone();
                    let content = Content { now: synced.clone(), synced, ..Content::default() };
                    left.insert(*child, Node::File(content));
                }
            }
        }
        self.nodes = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn file(tree: &mut Tree, called: &str, bytes: &[u8]) -> u64 {
        let ino = tree.create(ROOT, name(called), Node::File(Content::default())).unwrap();
        tree.write(ino, 0, bytes).unwrap();
        ino
    }

    fn read(tree: &Tree, called: &str) -> Result<Vec<u8>, Errno> {
        Ok(tree.file(tree.find(ROOT, name(called))?)?.bytes().to_vec())
    }

    #[test]
    fn what_was_synced_is_kept_and_the_rest_is_not() {
        let mut tree = Tree::default();
        let kept = file(&mut tree, "kept", b"one");
        tree.sync(kept);
        tree.write(kept, 3, b"two").unwrap();
        file(&mut tree, "new", b"three");
        tree.lose_power();
        assert_eq!(read(&tree, "kept").unwrap(), b"one");
        assert_eq!(read(&tree, "new"), Err(Errno::NOENT));
    }

    #[test]
    fn a_sync_of_another_file_keeps_names_and_not_content() {
        let mut tree = Tree::default();
        file(&mut tree, "unsynced", b"lost");
        let other = file(&mut tree, "other", b"kept");
        tree.sync(other);
        tree.lose_power();
        assert_eq!(read(&tree, "unsynced").unwrap(), b"");
        assert_eq!(read(&tree, "other").unwrap(), b"kept");
    }

    #[test]
    fn a_renaming_is_undone_unless_committed_and_never_leaves_an_empty_file() {
        let mut tree = Tree::default();
        let old = file(&mut tree, "name", b"old");
        tree.sync(old);
        file(&mut tree, "tmp", b"new");
        tree.rename((ROOT, name("tmp")), (ROOT, name("name"))).unwrap();
        let mut cut = Tree { nodes: tree.nodes.clone(), next: tree.next, committed: tree.committed.clone() };
        cut.lose_power();
        assert_eq!(read(&cut, "name").unwrap(), b"old");
        tree.commit();
        tree.lose_power();
        assert_eq!(read(&tree, "name").unwrap(), b"new");
        assert_eq!(read(&tree, "tmp"), Err(Errno::NOENT));
    }

    #[test]
    fn a_shorter_length_is_committed_with_the_journal_and_not_what_was_written_after() {
        let mut tree = Tree::default();
        let ino = file(&mut tree, "a", b"abcdef");
        tree.sync(ino);
        tree.set_len(ino, 2).unwrap();
        tree.write(ino, 2, b"XY").unwrap();
        tree.commit();
        tree.lose_power();
        assert_eq!(read(&tree, "a").unwrap(), b"ab");
    }

    #[test]
    fn a_file_synced_in_parts_is_whole() {
        let mut tree = Tree::default();
        let ino = file(&mut tree, "a", b"0123");
        tree.sync(ino);
        tree.write(ino, 8, b"89").unwrap();
        tree.write(ino, 1, b"x").unwrap();
        tree.sync(ino);
        tree.lose_power();
        assert_eq!(read(&tree, "a").unwrap(), b"0x23\0\0\0\089");
    }

    #[test]
    fn an_undone_removal_brings_the_file_back() {
        let mut tree = Tree::default();
        let ino = file(&mut tree, "a", b"abc");
        tree.sync(ino);
        tree.remove(ROOT, name("a"), false).unwrap();
        tree.lose_power();
        assert_eq!(read(&tree, "a").unwrap(), b"abc");
    }
}
