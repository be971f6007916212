//! The write-ahead log: segmented files that only grow at their end.
//!
//! ```text
//!   wal/0000000000000004.wal                                    wal/spare-7   wal/spare-8
//!   +------+---------+---------+---------+---------------+      +---------+   +---------+
//!   | head | batch   | batch   | batch   | 0 0 0 0 0 0 0 |      | 0 0 0 0 |   | 0 0 0 0 |
//!   +------+---------+---------+---------+---------------+      +---------+   +---------+
//!            |                             ^ next write           made in advance by a thread
//!            '-- first in each segment: a checkpoint of base and hard state,
//!                so that a log can be read from any segment on
//! ```
//!
//! - One [`Batch`] is one write, one CRC and at most one fdatasync; many entries in a batch are what
//!   makes commits cheap. The files are full of zeros beforehand, so that fdatasync has no metadata to
//!   write.
//! - A segment is begun only when the one before is durable. Files are made durable before their names.
//! - Opening cuts a torn end and refuses damage; see [`replay`]. What is cut is overwritten with zeros.
//! - A full disk is found while a segment is made, before anything is written. A failed fsync is final.
//! - Compaction writes a mark, then deletes whole segments, oldest first.

mod frame;
mod image;
mod record;
mod replay;
mod segment;
mod spares;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::error::Error;
use crate::files::{disk_full, is_full, make_dir, sync_dir};
use crate::types::{Batch, ClusterId, Entry, HardState, Index, Position, Term};

use image::Terms;
pub use replay::Cut;
use replay::Segment;
use spares::{Spare, Spares};

/// The largest batch in bytes.
const MAX_BATCH: usize = 1 << 30;

/// The smallest segment in bytes.
pub(crate) const MIN_SEGMENT: u64 = 4096;

/// What an opened log contains.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whether it was ever begun.
    pub(crate) begun: bool,
    pub(crate) hard_state: HardState,
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) cut: Option<Cut>,
}

/// The log of one member.
#[derive(Debug)]
pub(crate) struct Wal {
    dir: PathBuf,
    cluster: ClusterId,
    segment_bytes: u64,
    /// Full segments, oldest first.
    full: VecDeque<Segment>,
    active: Active,
    next_batch: u64,
    /// The CRC of the last batch.
    previous: u32,
    /// Every batch up to this number is durable.
    durable: u64,
    /// Whether the log was ever begun.
    begun: bool,
    base: Position,
    last: Index,
    hard_state: HardState,
    terms: Terms,
    spares: Spares,
    /// The batch being written; kept for its memory.
    buffer: Vec<u8>,
    /// An error left open what is on disk.
    stopped: bool,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    file: File,
    segment: Segment,
    offset: u64,
    /// Up to here a failed write may have left something. The next write covers it.
    dirty: u64,
}

/// A batch, a compaction mark, or nothing but what a segment begins with.
enum Content<'a> {
    Batch(Batch<'a>),
    Compact(Position),
}

// === impl Wal ===

impl Wal {
    pub(crate) fn open(
        dir: &Path,
        cluster: ClusterId,
        segment_bytes: u64,
    ) -> Result<(Self, Found), Error> {
        make_dir(dir)?;
        let replayed = match replay::replay(dir, cluster)? {
            Some(replayed) => replayed,
            None => {
                begin_first(dir, cluster, segment_bytes)?;
                replay::replay(dir, cluster)?.expect("the first segment was just made")
            }
        };
        let mut full: VecDeque<_> = replayed.segments.into();
        let segment = full.pop_back().expect("a log has at least one segment");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&segment.path)
            .map_err(Error::io("open", &segment.path))?;
        // What was read may still be on its way to the disk: the process that wrote it was killed.
        file.sync_all().map_err(Error::sync(&segment.path))?;
        sync_dir(dir)?;
        let image = replayed.image;
        let terms = Terms::of(&image);
        let last = image.last().index;
        let active = Active { file, segment, offset: replayed.offset, dirty: replayed.offset };
        let mut wal = Self {
            dir: dir.to_owned(),
            cluster,
            segment_bytes,
            full,
            active,
            next_batch: replayed.next_batch,
            previous: replayed.previous,
            durable: replayed.next_batch - 1,
            begun: image.begun,
            base: image.base,
            last,
            hard_state: image.hard_state,
            terms,
            spares: Spares::start(dir, segment_bytes)?,
            buffer: Vec::new(),
            stopped: false,
        };
        // A crash may have come between a mark and its deletions.
        wal.delete_forgotten();
        let found = Found {
            begun: image.begun,
            hard_state: image.hard_state,
            entries: image.entries,
            cut: replayed.cut,
        };
        Ok((wal, found))
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    pub(crate) fn last(&self) -> Position {
        let term = self.terms.at(self.last).unwrap_or_default();
        Position::new(self.last, term)
    }

    /// The term at an index from base to last.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index < self.base.index || index > self.last {
            return None;
        }
        self.terms.at(index)
    }

    pub(crate) fn append(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        self.check(batch)?;
        let sync = batch.sync || batch.reset.is_some();
        let keep = usize::from(!batch.entries.is_empty());
        self.write(&Content::Batch(*batch), keep, sync)?;
        if let Some(at) = batch.reset {
            (self.begun, self.base, self.last) = (true, at, at.index);
            self.terms.reset(at);
            self.cap_highest(Index(0));
        }
        if let (Some(first), Some(last)) = (batch.entries.first(), batch.entries.last()) {
            if first.index <= self.last {
                self.cap_highest(Index(first.index.0 - 1));
            }
            batch.entries.iter().for_each(|entry| self.terms.append(entry.position()));
            self.last = last.index;
            self.active.segment.highest = last.index;
        }
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        if batch.reset.is_some() {
            self.delete_forgotten();
        }
        Ok(())
    }

    /// Forgets entries up to and including `to`, between base and last.
    pub(crate) fn compact(&mut self, to: Index) -> Result<(), Error> {
        if to <= self.base.index {
            return Ok(());
        }
        let term = self.term_at(to).ok_or_else(|| {
            Error::Refused(format!("cannot forget up to {to}: the log ends at {}", self.last))
        })?;
        let to = Position::new(to, term);
        self.write(&Content::Compact(to), 0, true)?;
        self.base = to;
        self.terms.compact(to);
        self.delete_forgotten();
        Ok(())
    }

    fn check(&self, batch: &Batch<'_>) -> Result<(), Error> {
        let (base, last) = match batch.reset {
            Some(at) => (at.index, at.index),
            None => (self.base.index, self.last),
        };
        if !self.begun && batch.reset.is_none() {
            return Err(Error::Refused("the log was not begun yet".to_owned()));
        }
        let Some(first) = batch.entries.first() else { return Ok(()) };
        if first.index <= base || first.index > last.next() {
            let index = first.index;
            return Err(Error::Refused(format!(
                "entry {index} does not follow a log that reaches from {base} to {last}"
            )));
        }
        let mut bytes = 0;
        for (entry, expected) in batch.entries.iter().zip(first.index.0..) {
            if entry.index.0 != expected {
                let index = entry.index;
                return Err(Error::Refused(format!("entry {index} where {expected} must come")));
            }
            bytes += record::ENTRY_BYTES + entry.data.len() + entry.context.len();
        }
        if bytes > MAX_BATCH {
            return Err(Error::Refused(format!(
                "a batch of {bytes} bytes is over the limit of {MAX_BATCH}"
            )));
        }
        Ok(())
    }

    /// Writes one frame. Leaves at least `keep` spares when it has to begin a new segment.
    fn write(&mut self, content: &Content<'_>, keep: usize, sync: bool) -> Result<(), Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        self.keep_reserve(keep)?;
        self.encode(content);
        let room = self.active.segment.head.capacity - self.active.offset;
        if frame::length_of(self.buffer.len() - frame::HEAD) as u64 > room {
            self.begin_segment(keep)?;
            self.encode(content);
        }
        let head =
            frame::Head { number: self.next_batch, previous: self.previous, durable: self.durable };
        let crc = frame::seal(&mut self.buffer, self.active.segment.head.salt, head);
        let end = self.active.offset + self.buffer.len() as u64;
        // Covers what a failed write before this one may have left behind the end.
        self.buffer.resize((self.active.dirty.max(end) - self.active.offset) as usize, 0);
        if let Err(error) = self.active.file.write_all_at(&self.buffer, self.active.offset) {
            self.active.dirty = self.active.offset + self.buffer.len() as u64;
            // On a file system that copies on write, even zeros that are there do not reserve room.
            return Err(self.failed("write to", error, self.buffer.len() as u64));
        }
        (self.active.offset, self.active.dirty) = (end, end);
        (self.next_batch, self.previous) = (self.next_batch + 1, crc);
        if sync { self.sync() } else { Ok(()) }
    }

    /// Fills the buffer with room for the head, the checkpoint where one is due, and the content.
    fn encode(&mut self, content: &Content<'_>) {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.resize(frame::HEAD, 0);
        if self.active.offset == segment::HEAD as u64 {
            record::put_checkpoint(buffer, self.base, self.hard_state);
        }
        match content {
            Content::Compact(to) => record::put_compact(buffer, *to),
            Content::Batch(batch) => {
                if let Some(at) = batch.reset {
                    record::put_reset(buffer, at);
                }
                batch.entries.iter().for_each(|entry| record::put_entry(buffer, entry));
                if let Some(state) = batch.hard_state {
                    record::put_hard_state(buffer, state);
                }
            }
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        if let Err(error) = self.active.file.sync_data() {
            self.stopped = true;
            return Err(Error::sync(&self.active.segment.path)(error));
        }
        self.durable = self.next_batch - 1;
        Ok(())
    }

    /// Begins a new segment, large enough for the content of the buffer and a checkpoint.
    fn begin_segment(&mut self, keep: usize) -> Result<(), Error> {
        // The rule that lets a reader take every segment but the last one as durable.
        if self.durable < self.next_batch - 1 {
            self.sync()?;
        }
        let content = frame::length_of(self.buffer.len() + record::CHECKPOINT_BYTES);
        let needed = (segment::HEAD + content) as u64;
        let capacity = self.segment_bytes.max(needed.next_multiple_of(MIN_SEGMENT));
        let spare = if capacity > self.segment_bytes {
            self.spares.make(capacity)
        } else {
            self.spares.take(keep)
        };
        let spare = spare.map_err(|error| self.failed("make a segment in", error, capacity))?;
        let number = self.active.segment.head.number + 1;
        let head = segment::Head {
            cluster: self.cluster,
            number,
            salt: segment::salt(),
            capacity,
            first_batch: self.next_batch,
        };
        if let Err(error) = spare.file.write_all_at(&head.to_bytes(), 0) {
            let error = self.failed("write to", error, capacity);
            self.spares.put_back(spare);
            return Err(error);
        }
        let path = segment::path(&self.dir, number);
        if let Err(error) = name_segment(&self.dir, &spare, &path) {
            // The name may or may not be there, and so may the segment after a crash.
            self.stopped = true;
            return Err(error);
        }
        let begun = Segment { path, head, highest: Index(0) };
        let offset = segment::HEAD as u64;
        let active = Active { file: spare.file, segment: begun, offset, dirty: offset };
        self.full.push_back(std::mem::replace(&mut self.active, active).segment);
        Ok(())
    }

    /// Waits until a reserve is there, which entries must leave: once votes have begun to live on the last spare,
    /// entries would soon fill it.
    fn keep_reserve(&mut self, keep: usize) -> Result<(), Error> {
        if keep == 0 || self.spares.ready() >= keep {
            return Ok(());
        }
        let capacity = self.segment_bytes;
        let taken = self.spares.take(keep - 1);
        let reserve = taken.map_err(|error| self.failed("make a segment in", error, capacity))?;
        self.spares.put_back(reserve);
        Ok(())
    }

    /// Deletes segments whose entries are all forgotten, oldest first, so that no gap can appear.
    fn delete_forgotten(&mut self) {
        while let Some(oldest) = self.full.front() {
            if oldest.highest > self.base.index {
                return;
            }
            let deleted = fs::remove_file(&oldest.path)
                .map_err(Error::io("remove", &oldest.path))
                .and_then(|()| sync_dir(&self.dir));
            match deleted {
                Ok(()) => drop(self.full.pop_front()),
                Err(error) => {
                    warn!(%error, "a forgotten log segment stays for now");
                    return;
                }
            }
        }
    }

    fn cap_highest(&mut self, highest: Index) {
        for segment in self.full.iter_mut().chain([&mut self.active.segment]) {
            segment.highest = segment.highest.min(highest);
        }
    }

    fn failed(&mut self, action: &'static str, error: io::Error, needed: u64) -> Error {
        if is_full(&error) {
            return disk_full(&self.dir, needed);
        }
        self.stopped = true;
        Error::io(action, &self.active.segment.path)(error)
    }
}

/// The first segment of a new log.
fn begin_first(dir: &Path, cluster: ClusterId, segment_bytes: u64) -> Result<(), Error> {
    let spares = Spares::start(dir, segment_bytes)?;
    let spare = spares.take(0).map_err(|error| match spares::no_room(&error) {
        true => disk_full(dir, segment_bytes),
        false => Error::io("make a segment in", dir)(error),
    })?;
    let (number, salt) = (1, segment::salt());
    let head = segment::Head { cluster, number, salt, capacity: segment_bytes, first_batch: 1 };
    spare.file.write_all_at(&head.to_bytes(), 0).map_err(Error::io("write to", &spare.path))?;
    name_segment(dir, &spare, &segment::path(dir, number))
}

/// Makes the head durable, then the name.
fn name_segment(dir: &Path, spare: &Spare, path: &Path) -> Result<(), Error> {
    spare.file.sync_data().map_err(Error::sync(&spare.path))?;
    fs::rename(&spare.path, path).map_err(Error::io("rename", &spare.path))?;
    sync_dir(dir)
}
