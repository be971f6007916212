//! The few file operations that durability hangs on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Zeros are written in pieces of this size.
const PIECE: usize = 1 << 20;

/// Makes names in a directory durable: creations, renames and removals.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::sync(dir))
}

/// Creates a directory whose name is durable when this returns.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    // The parents' names too: a chain of new directories is as durable as its weakest link.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("create directory", dir)(error));
        }
        _ => {}
    }
    sync_dir(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Creates a file of zeros that are really on disk, so that writing into it later changes no
/// metadata and needs no room. On failure the file is gone again.
pub(crate) fn create_zeroed(path: &Path, length: u64) -> io::Result<File> {
    let fill = || {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        write_zeros(&mut file, length)?;
        file.sync_all()?;
        Ok(file)
    };
    fill().inspect_err(|_| drop(fs::remove_file(path)))
}

/// Writes zeros from the file's cursor on.
pub(crate) fn write_zeros(file: &mut File, length: u64) -> io::Result<()> {
    let piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE).min(piece.len());
        file.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The room that is left for us on the file system of a directory, in bytes.
pub(crate) fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The error for a disk that has no room for `needed` bytes.
pub(crate) fn disk_full(dir: &Path, needed: u64) -> Error {
    Error::DiskFull { dir: dir.to_owned(), needed, free: free_bytes(dir) }
}

/// The names in a directory, sorted.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = read().map_err(Error::io("list", dir))?;
    paths.sort();
    Ok(paths)
}
