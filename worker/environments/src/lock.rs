//! The lock under which one environment is built, by one process at a time.
//!
//! It is an flock(2), so the kernel takes it back when its holder dies, however it dies. The tools that
//! a builder starts get the lock as their standard input: a file description that is locked as long
//! as any of its descriptors is open. A builder killed with SIGKILL therefore leaves the lock held
//! until its last tool has ended, and no second builder writes into the same folder next to it. The
//! one who waits kills such orphans instead of waiting for them; the lock file says which they are.
//! Lock files are never deleted: a second builder could lock the new file while the first still
//! holds the old one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::process::ProcessId;
use crate::progress::{Phase, Reporter, TICK};

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct BuildLock {
    file: File,
    holder: Holder,
}

/// What a lock file says of its holder. It is a hint for people and for finding orphans; that the lock
/// is held is what the kernel says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Holder {
    builder: ProcessId,
    /// The tool that runs for it, the leader of a process group.
    tool: Option<ProcessId>,
}

impl BuildLock {
    /// Takes the lock if it is free.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self::held(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
        }
    }

    /// Takes the lock, waiting as long as it takes, and says so.
    pub(crate) fn acquire(
        path: &Path,
        cancel: &Cancel,
        reporter: &mut Reporter<'_>,
    ) -> Result<Self, Error> {
        if let Some(lock) = Self::try_acquire(path)? {
            return Ok(lock);
        }
        let file = open(path)?;
        let observed = open(path)?;
        // flock has no time limit, and the caller wants to hear from us: a thread waits. When the
        // caller has given up, the lock that the thread gets at last is dropped with the message.
        let (sender, receiver) = sync_channel(1);
        thread::spawn(move || {
            let locked = file.lock();
            let _ = sender.send(locked.map(|()| file));
        });
        loop {
            let holder = Holder::read(&observed);
            if let Some(orphan) = holder.and_then(Holder::orphan) {
                orphan.kill_group();
            }
            reporter.phase(Phase::Waiting { builder: holder.map(|holder| holder.builder.pid()) });
            match receiver.recv_timeout(TICK) {
                Ok(Ok(file)) => return Ok(Self::held(file)),
                Ok(Err(error)) => return Err(Error::io("lock", path)(error)),
                Err(RecvTimeoutError::Timeout) => cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    let error = io::Error::other("the thread that waited for the lock died");
                    return Err(Error::io("lock", path)(error));
                }
            }
        }
    }

    fn held(file: File) -> Self {
        let lock = Self { file, holder: Holder { builder: ProcessId::current(), tool: None } };
        lock.holder.write(&lock.file);
        lock
    }

    /// Notes the tool that runs now, so that it can be found should this process be killed.
    pub(crate) fn note_tool(&self, tool: Option<ProcessId>) {
        let holder = Holder { tool, ..self.holder };
        holder.write(&self.file);
    }

    /// The lock as a descriptor for a tool to hold on to.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with any process that a tool left behind.
        let _ = self.file.unlock();
    }
}

impl Holder {
    fn write(self, file: &File) {
        // A hint only: a full disk must not be what ends a build that needs no more room.
        let mut text = serde_json::to_vec(&self).unwrap_or_default();
        // Over whatever longer text stood there.
        text.resize(text.len().max(256), b' ');
        let _ = file.write_all_at(&text, 0);
    }

    fn read(file: &File) -> Option<Self> {
        let mut buffer = [0; 512];
        let length = file.read_at(&mut buffer, 0).ok()?;
        serde_json::from_slice(buffer[..length].trim_ascii()).ok()
    }

    /// The tool, if its builder is dead.
    fn orphan(self) -> Option<ProcessId> {
        self.tool.filter(|_| !self.builder.is_alive())
    }
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io("open the lock file", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn the_lock_is_taken_once_and_free_again_when_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let first = BuildLock::try_acquire(&path).expect("a lock").expect("free");
        assert!(BuildLock::try_acquire(&path).expect("a lock").is_none());
        drop(first);
        assert!(BuildLock::try_acquire(&path).expect("a lock").is_some());
    }

    #[test]
    fn a_waiting_call_names_the_holder_and_gives_up_when_cancelled() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let _held = BuildLock::try_acquire(&path).expect("a lock").expect("free");
        let cancel = Cancel::default();
        let mut seen = None;
        let mut callback = |progress: crate::progress::Progress| {
            if let Phase::Waiting { builder } = progress.phase {
                seen = builder;
                cancel.cancel();
            }
        };
        let result = BuildLock::acquire(&path, &cancel, &mut Reporter::new(&mut callback));
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(seen, Some(std::process::id()));
    }

    #[test]
    fn a_tool_whose_builder_is_dead_is_killed_by_the_next_builder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        // A builder that existed and is gone: a process that has ended already.
        let mut gone = Command::new("sleep").arg("600").spawn().expect("sleep");
        let builder = ProcessId::of(gone.id()).expect("it runs");
        gone.kill().expect("our child");
        gone.wait().expect("our child");
        // What a SIGKILL leaves: the descriptor closed, not unlocked.
        let file = open(&path).expect("a lock file");
        file.lock().expect("a lock");
        let shared = file.try_clone().expect("a second descriptor");
        let mut tool = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::from(shared))
            .process_group(0)
            .spawn()
            .expect("sleep is everywhere");
        let holder = Holder { builder, tool: ProcessId::of(tool.id()) };
        holder.write(&file);
        drop(file);
        let before = Instant::now();
        assert!(BuildLock::try_acquire(&path).expect("a lock").is_none());
        let mut callback = |_| {};
        BuildLock::acquire(&path, &Cancel::default(), &mut Reporter::new(&mut callback))
            .expect("the orphan is killed");
        assert!(before.elapsed() < Duration::from_secs(60));
        assert!(!tool.wait().expect("our child").success());
    }
}
