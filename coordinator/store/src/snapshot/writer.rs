//! Writing a snapshot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::{disk_full, is_full, sync_dir};
use crate::types::Position;

use super::format::{self, CHUNK, MAX_META};
use super::{SnapshotMeta, Snapshots};

/// Takes the state of a snapshot piece by piece. It becomes a snapshot with [`SnapshotWriter::finish`]
/// and vanishes when it is dropped before.
#[derive(Debug)]
pub struct SnapshotWriter {
    snapshots: Snapshots,
    at: Position,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    /// State that does not fill a chunk yet.
    chunk: Vec<u8>,
    chunks: u64,
    total: u64,
    whole: crc32fast::Hasher,
    /// The file has its name.
    finished: bool,
}

// === impl SnapshotWriter ===

impl SnapshotWriter {
    pub(super) fn begin(snapshots: Snapshots, meta: &SnapshotMeta) -> Result<Self, Error> {
        if meta.meta.len() > MAX_META {
            return Err(Error::Refused(format!(
                "the meta of a snapshot has {} bytes and the limit is {MAX_META}",
                meta.meta.len()
            )));
        }
        let path = snapshots.path(meta.at);
        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary).map_err(|error| failed(&temporary, error))?;
        let mut writer = Self {
            at: meta.at,
            path,
            temporary,
            file,
            chunk: Vec::with_capacity(CHUNK),
            chunks: 0,
            total: 0,
            whole: crc32fast::Hasher::new(),
            finished: false,
            snapshots,
        };
        let head = format::head(writer.snapshots.shared.cluster, meta);
        writer.put(&head)?;
        Ok(writer)
    }

    /// Adds to the state.
    ///
    /// # Errors
    /// [`Error::DiskFull`], or as the file system says. The snapshot cannot be finished then.
    pub fn add(&mut self, mut state: &[u8]) -> Result<(), Error> {
        self.whole.update(state);
        self.total += state.len() as u64;
        while !state.is_empty() {
            let (now, later) = state.split_at(state.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            state = later;
            if self.chunk.len() == CHUNK {
                self.put_chunk()?;
            }
        }
        Ok(())
    }

    /// Makes the snapshot durable and gives it its name. When this returns, the log may be compacted
    /// up to it, or reset to it.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::SyncFailed`], or as the file system says. The snapshot does not
    /// exist then.
    pub fn finish(mut self) -> Result<Position, Error> {
        self.put_chunk()?;
        let end = format::end(self.total, self.whole.clone().finalize());
        self.put(&end)?;
        self.file.sync_all().map_err(Error::sync(&self.temporary))?;
        fs::rename(&self.temporary, &self.path).map_err(|error| failed(&self.temporary, error))?;
        self.finished = true;
        sync_dir(&self.snapshots.shared.dir)?;
        self.snapshots.finished(self.at, self.path.clone());
        Ok(self.at)
    }

    fn put_chunk(&mut self) -> Result<(), Error> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let crc = format::chunk_crc(self.chunks, &self.chunk);
        self.put(&(self.chunk.len() as u32).to_le_bytes())?;
        self.put(&crc.to_le_bytes())?;
        let chunk = std::mem::take(&mut self.chunk);
        let put = self.put(&chunk);
        self.chunk = chunk;
        self.chunk.clear();
        self.chunks += 1;
        put
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| failed(&self.temporary, error))
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails, the next start removes it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    match path.parent() {
        Some(dir) if is_full(&error) => disk_full(dir, CHUNK as u64),
        _ => Error::io("write", path)(error),
    }
}
