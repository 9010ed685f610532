//! Showing a disk to the kernel.
//!
//! `/dev/fuse` is opened here and handed to `mount` as its standard input, which is why no call of the system needs to
//! be made by hand.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
};

use super::{requests::answer, tree::Disk, wire::WRITE_MAX};

const DEVICE: &str = "/dev/fuse";
/// A request's header and parameters, beside what it writes.
const HEAD_MAX: usize = 8 << 10;

/// Why no disk can be mounted on this machine, if none can: a test that needs one says so, and is no proof.
#[must_use]
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => None,
        Err(error) => Some(format!("open {DEVICE}: {error}")),
    }
}

/// A disk in the file system, gone when this is dropped.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Mounted {
    /// Mounts a disk at an empty folder.
    pub fn mount(disk: &Disk, at: &Path) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
        let told = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", options, "lossy"])
            .arg(at)
            .stdin(Stdio::from(device.try_clone()?))
            .output()?;
        if !told.status.success() {
            let words = String::from_utf8_lossy(&told.stderr).trim().to_owned();
            return Err(io::Error::other(format!("mount a disk at {}: {words}", at.display())));
        }
        let disk = disk.clone();
        let server = std::thread::Builder::new().name("lossy disk".to_owned()).spawn(move || serve(&disk, device))?;
        Ok(Self { at: at.to_owned(), server: Some(server) })
    }

    /// Takes it out of the file system, and forgets whatever the kernel remembers of it. Nothing may use it any more.
    pub fn unmount(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(server) = self.server.take() else { return Ok(()) };
        let told = Command::new("umount").arg(&self.at).output()?;
        if !told.status.success() {
            // Whoever still has it open must not keep the test from ending.
            Command::new("umount").arg("-l").arg(&self.at).output()?;
            let words = String::from_utf8_lossy(&told.stderr).trim().to_owned();
            return Err(io::Error::other(format!("unmount {}: {words}", self.at.display())));
        }
        server.join().unwrap_or_else(|_| Err(io::Error::other("the disk's thread panicked")))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        drop(self.end());
    }
}

/// Answers until it is unmounted.
fn serve(disk: &Disk, mut device: File) -> io::Result<()> {
    let mut request = vec![0; HEAD_MAX + usize::try_from(WRITE_MAX).unwrap_or(0)];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            // The request was withdrawn, or a signal came.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotFound) => continue,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => return Ok(()),
            Err(error) => return Err(error),
        };
        let answered = answer(&mut disk.lock(), request.get(..length).unwrap_or_default());
        if let Some(answered) = answered {
            match device.write_all(&answered) {
                Ok(()) => {}
                // Whoever asked is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}
