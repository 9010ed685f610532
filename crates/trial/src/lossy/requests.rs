//! Answers to the kernel's requests, from the image that programs see.

use std::os::unix::ffi::OsStrExt as _;

use rustix::io::Errno;

use super::{
    tree::{Content, Node, Tree},
    wire::{IN_HEADER, Put, Take, WRITE_MAX, op, refusal},
};

/// Version of the protocol, and what of it is wanted: large writes.
const VERSION: (u32, u32) = (7, 31);
const BIG_WRITES: u32 = 1 << 5;
/// How many seconds the kernel may remember names and attributes: nobody else changes them.
const REMEMBER: u64 = 3600;
/// Mode bits.
const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
/// `setattr`: the length is set.
const SET_SIZE: u32 = 1 << 3;
/// `O_DSYNC`, which `O_SYNC` includes.
const DSYNC: u32 = 0o10_000;
const BLOCK: u32 = 4096;
/// A disk of 64 GiB with half of it free: JetStream must believe that there is room.
const BLOCKS: u64 = 16 << 20;

/// Answers one request; nothing for those that want no answer.
pub(super) fn answer(tree: &mut Tree, request: &[u8]) -> Option<Vec<u8>> {
    let mut head = Take(request);
    let (Ok(_length), Ok(opcode), Ok(unique), Ok(ino)) = (head.u32(), head.u32(), head.u64(), head.u64()) else {
        return None;
    };
    if [op::FORGET, op::BATCH_FORGET, op::INTERRUPT].contains(&opcode) {
        return None;
    }
    let body = Take(request.get(IN_HEADER..).unwrap_or_default());
    Some(match handle(tree, opcode, ino, body) {
        Ok(put) => put.into_answer(unique),
        Err(errno) => refusal(unique, errno),
    })
}

fn handle(tree: &mut Tree, opcode: u32, ino: u64, mut body: Take<'_>) -> Result<Put, Errno> {
    match opcode {
        op::INIT => Ok(init()),
        op::LOOKUP => entry(tree, tree.find(ino, body.name()?)?),
        op::GETATTR => attributes(tree, ino),
        op::SETATTR => set_attributes(tree, ino, &mut body),
        op::MKNOD => {
            body.bytes(16)?;
            let made = tree.create(ino, body.name()?, Node::File(Content::default()))?;
            entry(tree, made)
        }
        op::MKDIR => {
            body.bytes(8)?;
            let made = tree.create(ino, body.name()?, Node::Folder([].into()))?;
            entry(tree, made)
        }
        op::UNLINK => tree.remove(ino, body.name()?, false).map(|()| Put::default()),
        op::RMDIR => tree.remove(ino, body.name()?, true).map(|()| Put::default()),
        op::RENAME | op::RENAME2 => rename(tree, opcode, ino, &mut body),
        op::OPEN | op::OPENDIR => tree.node(ino).map(|_| opened()),
        op::CREATE => {
            body.bytes(16)?;
            let made = tree.create(ino, body.name()?, Node::File(Content::default()))?;
            Ok(entry(tree, made)?.bytes(&[0; 16]))
        }
        op::READ => read(tree, ino, &mut body),
        op::READDIR => read_folder(tree, ino, &mut body),
        op::WRITE => write(tree, ino, &mut body),
        op::FSYNC | op::FSYNCDIR => {
            tree.sync(ino);
            Ok(Put::default())
        }
        op::STATFS => Ok(Put::default()
            .u64s(&[BLOCKS, BLOCKS / 2, BLOCKS / 2, BLOCKS, BLOCKS])
            .u32s(&[BLOCK, 255, BLOCK, 0, 0, 0, 0, 0, 0, 0])),
        op::RELEASE | op::RELEASEDIR | op::FLUSH => Ok(Put::default()),
        _ => Err(Errno::NOSYS),
    }
}

fn init() -> Put {
    let (major, minor) = VERSION;
    // Limits of 0 in the next word are the kernel's own; times have a nanosecond.
    Put::default().u32s(&[major, minor, WRITE_MAX, BIG_WRITES, 0, WRITE_MAX, 1, 0, 0]).bytes(&[0; 28])
}

fn opened() -> Put {
    Put::default().bytes(&[0; 16])
}

fn attribute(tree: &Tree, ino: u64) -> Result<Put, Errno> {
    let (size, mode, links) = match tree.node(ino)? {
        Node::File(content) => (u64::try_from(content.bytes().len()).map_err(|_| Errno::FBIG)?, FILE, 1),
        Node::Folder(_) => (u64::from(BLOCK), FOLDER, 2),
    };
    let put = Put::default().u64s(&[ino, size, size.div_ceil(512), 0, 0, 0]);
    Ok(put.u32s(&[0, 0, 0, mode, links, 0, 0, 0, BLOCK, 0]))
}

fn attributes(tree: &Tree, ino: u64) -> Result<Put, Errno> {
    let attribute = attribute(tree, ino)?;
    Ok(Put::default().u64s(&[REMEMBER, 0]).append(attribute))
}

fn entry(tree: &Tree, ino: u64) -> Result<Put, Errno> {
    let attribute = attribute(tree, ino)?;
    Ok(Put::default().u64s(&[ino, 0, REMEMBER, REMEMBER, 0]).append(attribute))
}

/// Only the length is kept; owners, modes and times are whatever they are.
fn set_attributes(tree: &mut Tree, ino: u64, body: &mut Take<'_>) -> Result<Put, Errno> {
    let valid = body.u32()?;
    body.bytes(12)?;
    let size = body.u64()?;
    if valid & SET_SIZE != 0 {
        tree.set_len(ino, size)?;
    }
    attributes(tree, ino)
}

fn rename(tree: &mut Tree, opcode: u32, ino: u64, body: &mut Take<'_>) -> Result<Put, Errno> {
    let to = body.u64()?;
    // Neither an exchange nor a renaming that may not replace is offered.
    if opcode == op::RENAME2 && body.u64()? != 0 {
        return Err(Errno::INVAL);
    }
    let (old, new) = (body.name()?, body.name()?);
    tree.rename((ino, old), (to, new)).map(|()| Put::default())
}

fn read(tree: &Tree, ino: u64, body: &mut Take<'_>) -> Result<Put, Errno> {
    let (offset, size) = offset_and_size(body)?;
    let bytes = tree.file(ino)?.bytes();
    let from = offset.min(bytes.len());
    let to = from.saturating_add(size).min(bytes.len());
    Ok(Put::default().bytes(bytes.get(from..to).unwrap_or_default()))
}

fn offset_and_size(body: &mut Take<'_>) -> Result<(usize, usize), Errno> {
    body.bytes(8)?;
    let (offset, size) = (body.u64()?, body.u32()?);
    let size = usize::try_from(size).map_err(|_| Errno::INVAL)?;
    Ok((usize::try_from(offset).map_err(|_| Errno::INVAL)?, size))
}

fn read_folder(tree: &Tree, ino: u64, body: &mut Take<'_>) -> Result<Put, Errno> {
    let (offset, size) = offset_and_size(body)?;
    let mut put = Put::default();
    for (index, (name, child)) in tree.folder(ino)?.iter().enumerate().skip(offset) {
        let name = name.as_bytes();
        let kind = if matches!(tree.node(*child)?, Node::Folder(_)) { 4 } else { 8 };
        let next = u64::try_from(index + 1).map_err(|_| Errno::INVAL)?;
        let length = u32::try_from(name.len()).map_err(|_| Errno::INVAL)?;
        if put.len() + 24 + name.len().next_multiple_of(8) > size {
            break;
        }
        put = put.u64s(&[*child, next]).u32s(&[length, kind]).bytes(name).padded();
    }
    Ok(put)
}

fn write(tree: &mut Tree, ino: u64, body: &mut Take<'_>) -> Result<Put, Errno> {
    body.bytes(8)?;
    let (offset, size) = (body.u64()?, body.u32()?);
    body.bytes(12)?;
    let flags = body.u32()?;
    body.bytes(4)?;
    let bytes = body.bytes(usize::try_from(size).map_err(|_| Errno::INVAL)?)?;
    tree.write(ino, offset, bytes)?;
    if flags & DSYNC != 0 {
        tree.sync(ino);
    }
    Ok(Put::default().u32s(&[size, 0]))
}
