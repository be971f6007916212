//! Reading a log back, and telling a torn end from damage.
//!
//! A crash may leave anything in the blocks that were written after the last completed fsync: none of
//! them, some of them, in any order. So the first frame that is not whole is not yet the end of the
//! matter: later ones may be whole, and that is normal, as long as all of them are from after that
//! fsync. Each frame says how far the log was durable when it was written. If any later one knows the
//! broken one to have been durable, then acknowledged data is damaged and the log must not be cut. If
//! none does, nobody was ever told that the broken batch is safe; it and all after it are cut.
//!
//! This knows one limit: damage to the very last acknowledged batch cannot be told from a torn write,
//! since nothing was written after it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::error::Error;
use crate::files::{list, write_zeros};
use crate::types::{ClusterId, Index};

use super::frame::{self, ALIGN};
use super::image::Image;
use super::record::{self, Record};
use super::segment;

/// A log as it was found.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) image: Image,
    /// Oldest first; the last one is to be written on.
    pub(crate) segments: Vec<Segment>,
    /// Where the next frame goes in the last segment.
    pub(crate) offset: u64,
    /// The number of the next batch.
    pub(crate) next_batch: u64,
    /// The CRC of the last batch.
    pub(crate) previous: u32,
    pub(crate) cut: Option<Cut>,
}

/// A segment as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) head: segment::Head,
    /// The highest entry in it that counts, 0 if none does.
    pub(crate) highest: Index,
}

/// A torn end that was cut off. Nothing in it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub file: PathBuf,
    /// Where the log ends now, in bytes.
    pub offset: u64,
    /// How many bytes after that were not zero.
    pub bytes: u64,
}

/// Reads the log in a directory. `None` when it has no segment.
pub(crate) fn replay(dir: &Path, cluster: ClusterId) -> Result<Option<Replayed>, Error> {
    let mut files: Vec<_> =
        list(dir)?.into_iter().filter_map(|path| Some((segment::number(&path)?, path))).collect();
    files.sort();
    let Some((first, _)) = files.first() else { return Ok(None) };
    for ((number, path), expected) in files.iter().zip(*first..) {
        if *number != expected {
            let what = format!("segment {expected}, which comes before it, is missing");
            return Err(Error::Damaged { file: path.clone(), offset: 0, what });
        }
    }
    let mut reader = Reader::new(*first > 1);
    let count = files.len();
    let mut files = files.into_iter().peekable();
    let mut next = files.next().map(|(number, path)| read(number, path, cluster)).transpose()?;
    let mut segments = Vec::with_capacity(count);
    while let Some((mut segment, content)) = next {
        next = files.next().map(|(number, path)| read(number, path, cluster)).transpose()?;
        let until = next.as_ref().map(|(after, _)| after.head.first_batch);
        reader.begin(&mut segment)?;
        reader.read_frames(&mut segment, &content, &mut segments, until)?;
        match until {
            Some(until) if reader.next_batch < until => {
                return Err(damaged(&segment, reader.offset, BROKEN));
            }
            Some(_) => {}
            None => reader.finish(&segment, &content)?,
        }
        segments.push(segment);
    }
    let last = segments.last().expect("there is at least one segment");
    reader.image.check().map_err(|what| damaged(last, reader.offset, what))?;
    Ok(Some(Replayed {
        image: reader.image,
        segments,
        offset: reader.offset as u64,
        next_batch: reader.next_batch,
        previous: reader.previous,
        cut: reader.cut,
    }))
}

const BROKEN: &str = "a batch is broken that was intact once, since later ones follow it";

struct Reader {
    image: Image,
    /// Where the next frame begins in the present segment.
    offset: usize,
    next_batch: u64,
    previous: u32,
    /// Nothing was read yet, so neither number nor CRC of the batch before are known.
    blank: bool,
    cut: Option<Cut>,
}

impl Reader {
    fn new(headless: bool) -> Self {
        let image = Image::new(headless);
        Self { image, offset: 0, next_batch: 1, previous: 0, blank: true, cut: None }
    }

    fn begin(&mut self, segment: &mut Segment) -> Result<(), Error> {
        self.offset = segment::HEAD;
        if self.blank {
            self.next_batch = segment.head.first_batch;
        }
        match segment.head.first_batch == self.next_batch {
            true => Ok(()),
            false => Err(damaged(segment, 0, "the segment does not follow the one before it")),
        }
    }

    /// Reads frames as long as they are whole and follow each other, and not from `until` on.
    fn read_frames(
        &mut self,
        segment: &mut Segment,
        content: &[u8],
        before: &mut [Segment],
        until: Option<u64>,
    ) -> Result<(), Error> {
        while until.is_none_or(|until| self.next_batch < until) {
            let rest = content.get(self.offset..).unwrap_or_default();
            let Some(frame) = frame::read(rest, segment.head.salt) else { return Ok(()) };
            let follows = frame.head.number == self.next_batch
                && (self.blank || frame.head.previous == self.previous);
            if !follows {
                return Ok(());
            }
            let records = record::read_all(frame.payload)
                .ok_or_else(|| damaged(segment, self.offset, "a batch that cannot be read"))?;
            for record in records {
                note_highest(&record, segment, before);
                self.image.apply(record).map_err(|what| damaged(segment, self.offset, what))?;
            }
            self.blank = false;
            self.offset += frame.length;
            self.next_batch += 1;
            self.previous = frame.crc;
        }
        Ok(())
    }

    /// The last segment: whatever follows its last whole frame is either nothing, torn, or damage.
    fn finish(&mut self, segment: &Segment, content: &[u8]) -> Result<(), Error> {
        let rest = content.get(self.offset..).unwrap_or_default();
        for at in (0..rest.len()).step_by(ALIGN) {
            let later = frame::read(&rest[at..], segment.head.salt);
            if later.is_some_and(|later| later.head.durable >= self.next_batch) {
                return Err(damaged(segment, self.offset, BROKEN));
            }
        }
        let bytes = rest.iter().filter(|byte| **byte != 0).count() as u64;
        let missing = segment.head.capacity.saturating_sub(content.len() as u64);
        if bytes == 0 && missing == 0 {
            return Ok(());
        }
        // Blocks that are left there could be taken for records one day.
        let offset = self.offset as u64;
        let length = segment.head.capacity.saturating_sub(offset).max(rest.len() as u64);
        let mut file = File::options()
            .write(true)
            .open(&segment.path)
            .map_err(Error::io("open", &segment.path))?;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| write_zeros(&mut file, length))
            .map_err(Error::io("cut the torn end of", &segment.path))?;
        file.sync_all().map_err(Error::sync(&segment.path))?;
        if bytes > 0 {
            let cut = Cut { file: segment.path.clone(), offset, bytes };
            warn!(file = %cut.file.display(), offset, bytes, "cut a torn write off the log");
            self.cut = Some(cut);
        }
        Ok(())
    }
}

/// Keeps account of which segments hold which entries, so that whole segments can be deleted.
fn note_highest(record: &Record, segment: &mut Segment, before: &mut [Segment]) {
    let all = before.iter_mut().chain([&mut *segment]);
    match record {
        Record::Entry(entry) => {
            let overwritten = Index(entry.index.0.saturating_sub(1));
            all.for_each(|segment| segment.highest = segment.highest.min(overwritten));
            segment.highest = entry.index;
        }
        Record::Reset(_) => all.for_each(|segment| segment.highest = Index(0)),
        _ => {}
    }
}

fn read(number: u64, path: PathBuf, cluster: ClusterId) -> Result<(Segment, Vec<u8>), Error> {
    let mut content = Vec::new();
    File::open(&path)
        .and_then(|mut file| file.read_to_end(&mut content))
        .map_err(Error::io("read", &path))?;
    let head = segment::Head::read(&path, &content, cluster)?;
    if head.number != number {
        let what = format!("the file is segment {} under another name", head.number);
        return Err(Error::Damaged { file: path, offset: 32, what });
    }
    Ok((Segment { path, head, highest: Index(0) }, content))
}

fn damaged(segment: &Segment, offset: usize, what: &str) -> Error {
    Error::Damaged { file: segment.path.clone(), offset: offset as u64, what: what.to_owned() }
}
