//! The data directory: where what lies.
//!
//! ```text
//! <data>/lock                                            held by the agent that uses the directory
//! <data>/replicas/<job uid>-<rank>-a<attempt>g<generation>/   one replica in one generation
//! <data>/logs/<job uid>/<role>-<index>.g<generation>.log      its output; stays when the replica is removed
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use muster_model::{Generation, LaunchSpec, Uid};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};

use crate::shim::record::SOCKET;

#[derive(Debug, Clone)]
pub(super) struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Makes the directory, if it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        for sub in ["replicas", "logs"] {
            make(&path.join(sub))?;
        }
        fs::canonicalize(path).map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the directory for this process, until the answer is dropped; `None` when another has it.
    pub(super) fn lock(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        let path = self.0.join("lock");
        let file = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn replicas(&self) -> PathBuf {
        self.0.join("replicas")
    }

    pub(super) fn replica(&self, name: &str) -> PathBuf {
        self.replicas().join(name)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(super) fn logs_of(&self, job: &Uid) -> PathBuf {
        self.logs().join(&job.0)
    }

    pub(super) fn log(&self, job: &Uid, short_name: &str, generation: Generation) -> PathBuf {
        self.logs_of(job).join(format!("{short_name}.g{generation}.log"))
    }
}

/// Makes a directory that only its owner may enter.
pub(super) fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The name of a replica's directory.
pub(super) fn name(spec: &LaunchSpec) -> String {
    format!("{}-{}-{}", spec.job_uid, spec.id.rank, spec.fence)
}

/// Whether a text may be a part of a path.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(plain)
}

/// Makes a replica's socket. Its path may be longer than an address can say, so it is named through the
/// directory's descriptor.
pub(super) fn listen(directory: &Path) -> io::Result<UnixListener> {
    let held = hold(directory)?;
    UnixListener::bind(through(&held))
}

/// Connects to a replica's shim.
pub(super) fn connect(directory: &Path) -> io::Result<UnixStream> {
    let held = hold(directory)?;
    UnixStream::connect(through(&held))
}

fn hold(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, directory, flags, Mode::empty())?)
}

fn through(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_lie_deep() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(100)).join("y".repeat(100));
        make(&deep).unwrap();
        let listener = listen(&deep).unwrap();
        assert!(connect(&deep).is_ok());
        drop(listener);
        let refused = connect(&deep).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn only_one_may_hold_a_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(folder.path()).unwrap();
        let held = data.lock().unwrap();
        assert!(held.is_some());
        assert!(data.lock().unwrap().is_none());
        drop(held);
        // A process that another test is just starting may still hold a copy of the descriptor.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while data.lock().unwrap().is_none() {
            assert!(std::time::Instant::now() < deadline, "it is still held");
            std::thread::yield_now();
        }
    }

    #[test]
    fn parts_of_paths_are_plain() {
        assert!(is_plain("0b7e6f3a-1234"));
        for bad in ["", "..", ".hidden", "a/b", "a b", &"x".repeat(201)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
