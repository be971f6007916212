//! A log while it is being read.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_model::Generation;
use tokio::sync::watch;

use super::files::{self, Numbered};
use super::line::{self, Entry};
use super::query::{LogError, LogQuery};
use super::tail;
use super::watcher::{Watched, Watcher};

/// How much is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// The next piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Whether the reader was so slow that a whole file was deleted before it came to it: something is
    /// missing before this piece.
    pub gap: bool,
    /// The entries, in order; not empty.
    pub entries: Vec<Entry>,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogStream {
    log: PathBuf,
    current: Option<Current>,
    /// The number of the file that comes next.
    next: u64,
    gap: bool,
    /// Entries that are older are left out; nanoseconds.
    since: u64,
    follow: Option<Follow>,
}

/// What a live reader waits for.
#[derive(Debug)]
struct Follow {
    changes: Watched,
    /// Whether the replica has ended; `None` when it had when the reading began.
    ended: Option<watch::Receiver<bool>>,
}

#[derive(Debug)]
struct Current {
    file: Numbered,
    offset: u64,
    /// The file is complete: what it has now is all it will ever have.
    full: bool,
}

impl LogStream {
    /// Opens a log. `newest_known` is the newest generation that runs or ran here and may not have
    /// written anything yet; `live` answers whether, and when, the replica that writes a log has ended.
    pub(crate) fn open(
        query: &LogQuery,
        folder: &Path,
        newest_known: Option<Generation>,
        live: impl Fn(&Path) -> Option<watch::Receiver<bool>>,
        watcher: &Watcher,
    ) -> Result<Self, LogError> {
        let name = &query.short_name;
        let generation = choose(query, folder, newest_known)?;
        let log = files::path(folder, name, generation);
        let read = |source| LogError::Read { path: log.clone(), source };
        let follow = if query.follow {
            // Watched before the first look, so that nothing slips in between.
            std::fs::create_dir_all(folder).map_err(read)?;
            Some(Follow { changes: watcher.watch(folder), ended: live(&log) })
        } else {
            None
        };
        let (current, next) = match query.tail {
            None => (None, 0),
            Some(lines) => {
                let all = files::all(&log).map_err(read)?;
                match all.is_empty() {
                    true => (None, 0),
                    false => {
                        let (index, offset) = tail::start(&all, lines).map_err(read)?;
                        let file = all[index].clone();
                        let next = file.number + 1;
                        let current = Current { file, offset, full: false };
                        (Some(current), next)
                    }
                }
            }
        };
        let since = query.since.map_or(0, |at| at.0.saturating_mul(1_000_000));
        Ok(Self { log, current, next, gap: false, since, follow })
    }

    /// The next piece; `None` at the end: of what there is, or, for a live reader, of what the replica wrote in
    /// its whole life. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, LogError> {
        loop {
            // Asked before the look at the files: what is written until a replica's end is there when it
            // has ended.
            let over = match &self.follow {
                None => true,
                Some(follow) => follow.ended.as_ref().is_none_or(|ended| *ended.borrow()),
            };
            while let Some(entries) = self.advance().await? {
                if !entries.is_empty() {
                    let gap = std::mem::take(&mut self.gap);
                    return Ok(Some(LogChunk { gap, entries }));
                }
            }
            match &mut self.follow {
                Some(follow) if !over => follow.wait().await,
                _ => return Ok(None),
            }
        }
    }

    /// Reads on; `None` when there is nothing more at the moment.
    async fn advance(&mut self) -> Result<Option<Vec<Entry>>, LogError> {
        let read = |log: &Path, source| LogError::Read { path: log.to_owned(), source };
        let Some(current) = &mut self.current else {
            let opened =
                files::open_from(&self.log, self.next).map_err(|error| read(&self.log, error))?;
            let Some(file) = opened else { return Ok(None) };
            self.gap |= self.next > 0 && file.number > self.next;
            self.next = file.number + 1;
            self.current = Some(Current { file, offset: 0, full: false });
            return Ok(Some(Vec::new()));
        };
        let bytes =
            read_at(&current.file, current.offset).await.map_err(|error| read(&self.log, error))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let Some(whole) = whole else {
            // Nothing, or a line that is just being written. The last look at a full file comes after it
            // was seen to be full.
            if current.full {
                self.current = None;
            } else if files::is_full(&self.log, current.file.number) {
                current.full = true;
            } else {
                return Ok(None);
            }
            return Ok(Some(Vec::new()));
        };
        current.offset += whole as u64;
        let since = self.since;
        let entries = bytes[..whole - 1]
            .split(|byte| *byte == b'\n')
            .filter_map(line::parse)
            .filter(|entry| entry.stamp.0 >= since)
            .collect();
        Ok(Some(entries))
    }
}

impl Follow {
    async fn wait(&mut self) {
        let changed = self.changes.changed();
        match &mut self.ended {
            Some(ended) => tokio::select! {
                () = changed => {}
                _ = ended.wait_for(|ended| *ended) => {}
            },
            None => changed.await,
        }
    }
}

async fn read_at(file: &Numbered, offset: u64) -> io::Result<Vec<u8>> {
    let file = Arc::clone(&file.file);
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; CHUNK];
        let length = file.read_at(&mut bytes, offset)?;
        bytes.truncate(length);
        Ok(bytes)
    });
    read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// The generation whose log is meant.
fn choose(
    query: &LogQuery,
    folder: &Path,
    newest_known: Option<Generation>,
) -> Result<Generation, LogError> {
    let name = || query.short_name.clone();
    let mut have = files::generations(folder, &query.short_name);
    if let Some(known) = newest_known
        && !have.contains(&known)
    {
        have.push(known);
        have.sort();
    }
    let Some(newest) = have.last().copied() else {
        return Err(LogError::NotFound { name: name() });
    };
    let wanted = query.generation.unwrap_or(newest);
    if query.previous {
        let before = have.into_iter().rfind(|one| *one < wanted);
        return before.ok_or_else(|| LogError::NoPrevious { name: name() });
    }
    if have.contains(&wanted) {
        return Ok(wanted);
    }
    let have: Vec<String> = have.iter().map(Generation::to_string).collect();
    Err(LogError::NoGeneration { name: name(), generation: wanted, have: have.join(", ") })
}
