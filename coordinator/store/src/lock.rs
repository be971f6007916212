//! One process a directory.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Error;

/// Holds a directory for this process. The kernel lets go of it when the process ends, however it
/// ends, so a stale lock cannot exist.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
}

// === impl DirLock ===

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(Error::Locked { dir: dir.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(Error::io("lock", &path)(error.into())),
        }
        // Only for the message above; that it may be lost in a crash does not matter.
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(Error::io("write", &path))?;
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file would not do: a child process that another thread is just starting has a
        // copy of it until it runs its own program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
