//! Segments made in advance, by a thread in the background.
//!
//! Filling sixteen mebibytes with zeros takes tens of milliseconds, which no append should wait for.
//! Two spares are kept. An append with entries may only take one when another remains; the last one
//! is the reserve out of which terms, votes and compaction marks are still written on a full disk.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};

use tracing::warn;

use crate::error::Error;
use crate::files::{create_zeroed, free_bytes, is_full, list};

use super::segment;

/// How many spares there should be.
const TARGET: usize = 2;

const PREFIX: &str = "spare-";

/// A file of zeros, durable, of the size of a segment.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

/// The stock of spares and the thread that fills it.
#[derive(Debug)]
pub(crate) struct Spares {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    segment_bytes: u64,
    stock: Mutex<Stock>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Stock {
    ready: VecDeque<Spare>,
    /// The numbers in the names of spares only keep them apart.
    made: u64,
    /// Why the last attempt failed. There is no other one until somebody needs a spare.
    failed: Option<io::Error>,
    stopping: bool,
}

// === impl Spares ===

impl Spares {
    /// Takes over the spares that an earlier process left, and starts to make the missing ones.
    pub(crate) fn start(dir: &Path, segment_bytes: u64) -> Result<Self, Error> {
        let mut stock = Stock::default();
        for path in list(dir)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(number) = name.strip_prefix(PREFIX) else { continue };
            let usable = number.parse::<u64>().ok().zip(reuse(&path, segment_bytes));
            match usable {
                Some((number, file)) if stock.ready.len() < TARGET => {
                    stock.made = stock.made.max(number);
                    stock.ready.push_back(Spare { file, path });
                }
                _ => fs::remove_file(&path).map_err(Error::io("remove", &path))?,
            }
        }
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            segment_bytes,
            stock: Mutex::new(stock),
            changed: Condvar::new(),
        });
        let worker = Builder::new()
            .name("muster-wal-spare".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.fill()
            })
            .map_err(Error::io("start a thread for", dir))?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// Takes a spare and leaves at least `keep`; waits for the thread where it must.
    ///
    /// # Errors
    /// As the file system says, when a spare could not be made.
    pub(crate) fn take(&self, keep: usize) -> io::Result<Spare> {
        let mut stock = self.shared.lock();
        // What failed once may succeed now.
        stock.failed = None;
        self.shared.changed.notify_all();
        loop {
            if stock.ready.len() > keep {
                let spare = stock.ready.pop_front().expect("there are more than `keep`");
                self.shared.changed.notify_all();
                return Ok(spare);
            }
            // Stays set for the thread, which waits for the next `take`.
            if let Some(failed) = &stock.failed {
                return Err(copy(failed));
            }
            stock = self.shared.changed.wait(stock).expect(NO_PANIC);
        }
    }

    /// Puts back a spare that was not used.
    pub(crate) fn put_back(&self, spare: Spare) {
        self.shared.lock().ready.push_front(spare);
    }

    /// How many spares are ready.
    pub(crate) fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }

    /// Makes a file of zeros of an unusual size, at once.
    pub(crate) fn make(&self, bytes: u64) -> io::Result<Spare> {
        let number = {
            let mut stock = self.shared.lock();
            stock.made += 1;
            stock.made
        };
        self.shared.make(number, bytes)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // It does not panic, and if it did there would be nothing left to do.
            let _ = worker.join();
        }
    }
}

// === impl Shared ===

const NO_PANIC: &str = "nothing that holds this lock panics";

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().expect(NO_PANIC)
    }

    /// The thread.
    fn fill(&self) {
        let mut stock = self.lock();
        loop {
            if stock.stopping {
                return;
            }
            if stock.ready.len() >= TARGET || stock.failed.is_some() {
                stock = self.changed.wait(stock).expect(NO_PANIC);
                continue;
            }
            stock.made += 1;
            let number = stock.made;
            drop(stock);
            let made = self.make(number, self.segment_bytes);
            stock = self.lock();
            match made {
                Ok(spare) => stock.ready.push_back(spare),
                Err(error) => {
                    warn!(dir = %self.dir.display(), %error, "cannot make a spare log segment");
                    stock.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn make(&self, number: u64, bytes: u64) -> io::Result<Spare> {
        // Spares the work of filling the disk only to find it full.
        if free_bytes(&self.dir) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.dir.join(format!("{PREFIX}{number}"));
        // A crash leaves a file under another name, which the next start removes.
        let growing = self.dir.join(format!("{PREFIX}{number}.new"));
        let file = create_zeroed(&growing, bytes)?;
        fs::rename(&growing, &path).inspect_err(|_| drop(fs::remove_file(&growing)))?;
        Ok(Spare { file, path })
    }
}

/// Opens a spare of an earlier process if it is what a spare must be. A head that was written before
/// a crash is wiped; anything else makes it unusable.
fn reuse(path: &Path, segment_bytes: u64) -> Option<File> {
    let mut file = File::options().read(true).write(true).open(path).ok()?;
    if file.metadata().ok()?.len() != segment_bytes {
        return None;
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).ok()?;
    let (head, rest) = content.split_at_checked(segment::HEAD)?;
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    if head.iter().any(|byte| *byte != 0) {
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(&[0; segment::HEAD], 0).ok()?;
    }
    // Zeros that were read may still be on their way to the disk.
    file.sync_all().ok()?;
    Some(file)
}

/// `io::Error` cannot be cloned; what matters of it can.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

/// Whether an error of [`Spares::take`] is a full disk.
pub(crate) fn no_room(error: &io::Error) -> bool {
    is_full(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_made_in_advance_and_the_last_one_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let spares = Spares::start(dir.path(), 8192).expect("a directory");
        let spare = spares.take(1).expect("room");
        assert_eq!(spare.file.metadata().expect("a file").len(), 8192);
        let next = spares.take(1).expect("room");
        assert_ne!(next.path, spare.path);
        assert!(spares.ready() >= 1);
    }

    #[test]
    fn what_an_earlier_process_left_is_used_again_or_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let put = |name: &str, content: &[u8]| {
            fs::write(dir.path().join(name), content).expect("room");
        };
        let mut with_head = vec![0; 8192];
        with_head[3] = 1;
        let mut used = vec![0; 8192];
        used[5000] = 1;
        put("spare-7", &with_head);
        put("spare-8", &used);
        put("spare-9", &[0; 100]);
        put("spare-10.new", &[0; 8192]);
        put("other", b"kept");
        let spares = Spares::start(dir.path(), 8192).expect("a directory");
        let first = spares.take(1).expect("room");
        assert_eq!(first.path, dir.path().join("spare-7"));
        assert_eq!(fs::read(&first.path).expect("a file"), vec![0; 8192]);
        drop(spares);
        for path in list(dir.path()).expect("a directory") {
            let content = fs::read(&path).expect("a file");
            match path.file_name().and_then(|name| name.to_str()) {
                Some("other") => assert_eq!(content, b"kept"),
                _ => assert!(content == vec![0; 8192], "{}", path.display()),
            }
        }
    }
}
