//! Reading a snapshot.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::Error;
use crate::types::ClusterId;

use super::SnapshotMeta;
use super::format::{self, CHUNK, HEAD};

/// Reads the state of a snapshot chunk by chunk; each is checked before it is handed out. The file
/// may be deleted meanwhile without harm.
#[derive(Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    file: BufReader<File>,
    meta: SnapshotMeta,
    chunks: u64,
    total: u64,
    whole: crc32fast::Hasher,
    ended: bool,
}

// === impl SnapshotReader ===

impl SnapshotReader {
    pub(super) fn open(path: &Path, cluster: ClusterId) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            meta: SnapshotMeta { at: Default::default(), meta: Bytes::new() },
            chunks: 0,
            total: 0,
            whole: crc32fast::Hasher::new(),
            ended: false,
        };
        let mut head = [0; HEAD];
        reader.fill(&mut head)?;
        let (at, length) = format::read_head(path, &head, cluster)?;
        let mut meta = vec![0; length];
        reader.fill(&mut meta)?;
        reader.meta = SnapshotMeta { at, meta: meta.into() };
        if !format::head_is_whole(&head, &reader.meta.meta) {
            return Err(reader.damaged("its head does not match its checksum"));
        }
        if super::position(path) != Some(at) {
            return Err(reader.damaged("it stands for another position than its name says"));
        }
        Ok(reader)
    }

    /// What the snapshot stands for.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The next piece of the state, at most 256 KiB; `None` after the last one, when the whole was
    /// found intact.
    ///
    /// # Errors
    /// [`Error::DamagedSnapshot`], or as the file system says.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut head = [0; 8];
        self.fill(&mut head)?;
        let length = u32::from_le_bytes(*head.first_chunk().expect("four of eight bytes"));
        let crc = u32::from_le_bytes(*head.last_chunk().expect("four of eight bytes"));
        if length == 0 {
            return self.end(head).map(|()| None);
        }
        let length = length as usize;
        if length > CHUNK {
            return Err(self.damaged("a chunk is too long"));
        }
        let mut data = vec![0; length];
        self.fill(&mut data)?;
        if format::chunk_crc(self.chunks, &data) != crc {
            return Err(self.damaged("a chunk does not match its checksum"));
        }
        self.chunks += 1;
        self.total += data.len() as u64;
        self.whole.update(&data);
        Ok(Some(data.into()))
    }

    /// Reads to the end, only to see whether all of it is intact.
    ///
    /// # Errors
    /// As [`SnapshotReader::next_chunk`].
    pub fn verify(mut self) -> Result<SnapshotMeta, Error> {
        while self.next_chunk()?.is_some() {}
        Ok(self.meta)
    }

    /// Reads the whole state into memory.
    ///
    /// # Errors
    /// As [`SnapshotReader::next_chunk`].
    pub fn read_all(mut self) -> Result<Vec<u8>, Error> {
        let mut state = Vec::new();
        while let Some(chunk) = self.next_chunk()? {
            state.extend_from_slice(&chunk);
        }
        Ok(state)
    }

    fn end(&mut self, head: [u8; 8]) -> Result<(), Error> {
        let mut rest = [0; 12];
        self.fill(&mut rest)?;
        let expected = format::end(self.total, self.whole.clone().finalize());
        if [head.as_slice(), &rest].concat() != expected {
            return Err(self.damaged("the whole does not match its checksum"));
        }
        let mut surplus = [0; 1];
        match self.file.read(&mut surplus).map_err(Error::io("read", &self.path))? {
            0 => {
                self.ended = true;
                Ok(())
            }
            _ => Err(self.damaged("there is more after its end")),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it is cut short"))
            }
            result => result.map_err(Error::io("read", &self.path)),
        }
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::DamagedSnapshot { file: self.path.clone(), what }
    }
}
