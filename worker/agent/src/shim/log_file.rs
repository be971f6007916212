//! The log file of a replica: appended to, and begun anew when it is full.
//!
//! The file that is written has the name of the log; when it reaches its limit it is renamed to
//! `<log>.<n>` with the next number, and the one before it is deleted. So there are two files at most, and
//! a reader can tell from the numbers whether one is missing between them. A log is never worth stopping a
//! rank for: what cannot be written is counted and dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How much is collected before it is written.
const BATCH: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    /// How many full files there were before this one.
    full: u64,
    pending: Vec<u8>,
    /// Bytes that could not be written since the last complaint.
    lost: u64,
}

/// Something went wrong with the log: a sentence.
pub(super) type Complaint = String;

impl LogFile {
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limit,
            file: Some(file),
            size,
            full: newest_full(path),
            pending: Vec::new(),
            lost: 0,
        })
    }

    /// Where lines are appended. They reach the file with [`Self::flush`].
    pub(super) fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Whether so much is pending that it should be written before more is collected.
    pub(super) fn is_heavy(&self) -> bool {
        self.pending.len() >= BATCH
    }

    /// Writes what is pending. Answers a complaint when the first of it is lost.
    pub(super) fn flush(&mut self) -> Option<Complaint> {
        if self.pending.is_empty() {
            return None;
        }
        let result = self.write();
        let length = self.pending.len() as u64;
        self.pending.clear();
        // One burst may have grown it far: a batch later it is small again.
        self.pending.shrink_to(4 * BATCH);
        match result {
            Ok(()) => {
                self.size += length;
                self.lost = 0;
                None
            }
            Err(error) => {
                let first = self.lost == 0;
                self.lost += length;
                first.then(|| {
                    format!(
                        "output is being lost: its log {} cannot be written: {error}",
                        self.path.display()
                    )
                })
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.size >= self.limit {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.file = Some(append(&self.path)?);
        }
        let file = self.file.as_mut().expect("opened above");
        file.write_all(&self.pending)
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, numbered(&self.path, self.full + 1))?;
        self.full += 1;
        (self.file, self.size) = (None, 0);
        if self.full > 1 {
            let _ = fs::remove_file(numbered(&self.path, self.full - 1));
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The name of the `n`th full file of a log.
pub(crate) fn numbered(log: &Path, n: u64) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// The number of the newest full file of a log; 0 when there is none.
pub(crate) fn newest_full(log: &Path) -> u64 {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str()))
    else {
        return 0;
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let entry = entry.file_name();
        let rest = entry.to_str()?.strip_prefix(name)?.strip_prefix('.')?;
        rest.parse::<u64>().ok()
    };
    entries.filter_map(number).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_are_kept_and_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker-0.g1.log");
        let mut log = LogFile::open(&path, 10).unwrap();
        for line in 0..5 {
            log.pending().extend_from_slice(format!("line {line} ..\n").as_bytes());
            assert_eq!(log.flush(), None);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4 ..\n");
        let full = fs::read_to_string(numbered(&path, 4)).unwrap();
        assert_eq!(full, "line 3 ..\n");
        assert!(!numbered(&path, 3).exists());
        assert_eq!(newest_full(&path), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_dropped_with_one_complaint() {
        let mut log = LogFile::open(Path::new("/dev/full"), 1 << 20).unwrap();
        log.pending().extend_from_slice(b"x");
        let complaint = log.flush().expect("the device is always full");
        assert!(complaint.contains("/dev/full"), "{complaint}");
        log.pending().extend_from_slice(b"y");
        assert_eq!(log.flush(), None);
        assert!(log.pending().is_empty());
    }
}
