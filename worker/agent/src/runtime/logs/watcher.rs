//! Tells readers when something changes in a folder of logs.
//!
//! All readers share one inotify instance, of which a user has few (128 by default), with one watch for each
//! folder that is read. Where the kernel gives none, readers look again every so often.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tracing::warn;

const WATCHER: TaskKind =
    TaskKind { name: "log-watcher", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// How often a reader looks when the kernel tells nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    inotify: AsyncFd<OwnedFd>,
    folders: Mutex<Folders>,
}

#[derive(Debug, Default)]
struct Folders {
    by_path: BTreeMap<PathBuf, Folder>,
    by_watch: BTreeMap<i32, PathBuf>,
}

#[derive(Debug)]
struct Folder {
    watch: i32,
    readers: usize,
    changes: watch::Sender<()>,
}

/// A reader's place at the watcher.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    inner: Option<Arc<Inner>>,
    changes: Option<watch::Receiver<()>>,
}

impl Watcher {
    pub(crate) fn start(tasks: &Tasks) -> Self {
        #[allow(
            deprecated,
            reason = "its complaint is about types whose descriptor may change; an OwnedFd's cannot"
        )]
        let made = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(io::Error::from)
            .and_then(AsyncFd::new);
        let inner = match made {
            Ok(inotify) => Arc::new(Inner { inotify, folders: Mutex::default() }),
            Err(error) => {
                warn!(%error, "no inotify instance is to be had; logs are followed by looking again and again");
                return Self { inner: None };
            }
        };
        let pump = Arc::clone(&inner);
        tasks.spawn(WATCHER, async move { pump.run().await });
        Self { inner: Some(inner) }
    }

    /// Watches a folder from now on.
    pub(super) fn watch(&self, path: &Path) -> Watched {
        let changes = self.inner.as_ref().and_then(|inner| inner.enter(path));
        Watched {
            path: path.to_owned(),
            inner: self.inner.clone().filter(|_| changes.is_some()),
            changes,
        }
    }
}

impl Watched {
    /// Waits until something has changed since the last call, or may have.
    pub(super) async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes
            && changes.changed().await.is_ok()
        {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            inner.leave(&self.path);
        }
    }
}

impl Inner {
    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().expect("nothing panics while it is held")
    }

    fn enter(&self, path: &Path) -> Option<watch::Receiver<()>> {
        let mut folders = self.folders();
        if let Some(folder) = folders.by_path.get_mut(path) {
            folder.readers += 1;
            return Some(folder.changes.subscribe());
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF;
        let watch = match inotify::add_watch(self.inotify.get_ref(), path, flags) {
            Ok(watch) => watch,
            Err(error) => {
                warn!(folder = %path.display(), %error, "a folder of logs cannot be watched");
                return None;
            }
        };
        let (changes, receiver) = watch::channel(());
        folders.by_watch.insert(watch, path.to_owned());
        folders.by_path.insert(path.to_owned(), Folder { watch, readers: 1, changes });
        Some(receiver)
    }

    fn leave(&self, path: &Path) {
        let mut folders = self.folders();
        let Some(folder) = folders.by_path.get_mut(path) else {
            return;
        };
        folder.readers -= 1;
        if folder.readers > 0 {
            return;
        }
        let watch = folder.watch;
        folders.by_path.remove(path);
        folders.by_watch.remove(&watch);
        // Fails when the folder was deleted, and its watch with it.
        let _ = inotify::remove_watch(self.inotify.get_ref(), watch);
    }

    async fn run(&self) -> io::Result<()> {
        loop {
            let mut guard = self.inotify.readable().await?;
            let drained = guard.try_io(|inotify| {
                self.drain(inotify.get_ref())?;
                // Empty now: wait for more.
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
            if let Ok(Err(error)) = drained {
                return Err(error);
            }
        }
    }

    fn drain(&self, inotify: &OwnedFd) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = Reader::new(inotify, &mut buffer);
        let mut changed = Vec::new();
        loop {
            match events.next() {
                Ok(event) => changed.push(event.wd()),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        let folders = self.folders();
        // -1 stands for events that were dropped because they were too many: anything may have changed.
        let lost = changed.contains(&-1);
        for (path, folder) in &folders.by_path {
            let told = changed.binary_search(&folder.watch).is_ok();
            if told || lost {
                debug_assert_eq!(folders.by_watch.get(&folder.watch), Some(path));
                folder.changes.send_replace(());
            }
        }
        Ok(())
    }
}
