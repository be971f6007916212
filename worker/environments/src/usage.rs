//! Who uses an environment, and when it was used last.
//!
//! Two things keep an environment from being pruned. A [`Lease`] is a shared flock that lives as long as
//! the value does: it covers the time between `ensure` and the start of the processes. A user record
//! names a process, which keeps the environment until it ends, also over a restart of the agent: the
//! shim of a replica outlives it. Records of dead processes count for nothing and are cleared when
//! somebody looks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::Error;
use crate::process::ProcessId;
use crate::recipe::EnvironmentKey;

/// The folder of one key's locks and records, `.state/KEY`. It is outside of the environment, which may
/// be moved away, and stays when the environment goes: see [`crate::lock`].
#[derive(Debug, Clone)]
pub(crate) struct State {
    folder: PathBuf,
}

/// A shared hold on an environment.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    state: State,
}

impl State {
    /// The state of a key; its folder is made if it is not there.
    pub(crate) fn of(root: &Path, key: &EnvironmentKey) -> Result<Self, Error> {
        let folder = root.join(".state").join(key.short());
        let users = folder.join("users");
        fs::create_dir_all(&users).map_err(Error::io("create", &users))?;
        Ok(Self { folder })
    }

    /// The state in a folder that [`Self::of`] has made.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn build_lock(&self) -> PathBuf {
        self.folder.join("build.lock")
    }

    pub(crate) fn failure(&self) -> PathBuf {
        self.folder.join("failed.json")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a lease, waiting for a removal that is under way.
    pub(crate) fn lease(&self) -> Result<Lease, Error> {
        let (path, file) = self.open_lock()?;
        file.lock_shared().map_err(Error::io("lock", &path))?;
        Ok(Lease { file, state: self.clone() })
    }

    /// Takes the lock that keeps leases out, if there is no lease.
    pub(crate) fn try_exclusive(&self) -> Result<Option<File>, Error> {
        let (path, file) = self.open_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// Notes a process that uses the environment until it ends, and answers the record's path.
    pub(crate) fn add_user(&self, user: ProcessId) -> Result<PathBuf, Error> {
        let record = self.folder.join("users").join(user.file_name());
        File::create(&record).map_err(Error::io("write", &record))?;
        self.touch();
        Ok(record)
    }

    /// The noted processes that still run. The records of the others are cleared.
    pub(crate) fn users(&self) -> Vec<ProcessId> {
        let entries = fs::read_dir(self.folder.join("users"));
        let mut users: Vec<ProcessId> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let user = ProcessId::from_file_name(entry.file_name().to_str()?)?;
                if user.is_alive() {
                    return Some(user);
                }
                let _ = fs::remove_file(entry.path());
                None
            })
            .collect();
        users.sort_unstable();
        users
    }

    /// Notes that the environment is used now.
    pub(crate) fn touch(&self) {
        // Only the order in which environments are pruned hangs on it.
        let _ = File::create(self.last_used_file());
    }

    /// When it was used last; `None` if that is not known.
    pub(crate) fn last_used(&self) -> Option<SystemTime> {
        fs::metadata(self.last_used_file()).ok()?.modified().ok()
    }

    /// Forgets the use of an environment that is gone.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(self.last_used_file());
        let _ = fs::remove_file(self.failure());
    }

    fn last_used_file(&self) -> PathBuf {
        self.folder.join("last-used")
    }

    fn open_lock(&self) -> Result<(PathBuf, File), Error> {
        let path = self.folder.join("use.lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open the lock file", &path))?;
        Ok((path, file))
    }
}

impl Lease {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.touch();
        // A child that another thread is starting right now may hold a copy of the descriptor for
        // a moment.
        let _ = self.file.unlock();
    }
}
