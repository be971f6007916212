//! The files of one log: the one that is written, and the full one before it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_model::Generation;

use crate::shim::log_file::{newest_full, numbered};

/// An open file of a log. Its number counts the files of the log from 1; it keeps its number when it is full
/// and renamed.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) file: Arc<File>,
    pub(super) number: u64,
}

/// The generations of a replica that have a log, in order.
pub(super) fn generations(folder: &Path, short_name: &str) -> Vec<Generation> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let generation = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let rest = name.to_str()?.strip_prefix(short_name)?;
        let number = rest.strip_prefix(".g")?.strip_suffix(".log")?;
        number.parse().ok().map(Generation)
    };
    let mut all: Vec<Generation> = entries.filter_map(generation).collect();
    all.sort();
    all
}

/// So many generations of a replica keep their logs: the first, which often tells the cause, and the newest.
const KEPT: usize = 10;

/// Removes the logs of generations that are neither the first nor among the newest, so that a job that is restarted
/// for ever does not fill the disk. What somebody reads just now stays readable to its end.
pub(crate) fn forget_old(folder: &Path, short_name: &str) {
    let generations = generations(folder, short_name);
    let surplus = generations.len().saturating_sub(KEPT);
    for generation in generations.iter().skip(1).take(surplus) {
        let log = path(folder, short_name, *generation);
        // The full files have numbers behind the name.
        let full = newest_full(&log);
        for file in (1..=full).rev().map_while(|number| {
            let file = numbered(&log, number);
            file.exists().then_some(file)
        }) {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_file(log);
    }
}

/// Whether the file with this number is full, so that nothing is added to it any more.
pub(super) fn is_full(log: &Path, number: u64) -> bool {
    newest_full(log) >= number
}

/// The file with this number, or the oldest after it that is still there; `None` when that is yet to be made.
pub(super) fn open_from(log: &Path, number: u64) -> io::Result<Option<Numbered>> {
    loop {
        let newest = newest_full(log);
        // The full file before the one that is written is the oldest that is kept.
        let wanted = number.max(newest).max(1);
        let (path, is_current) = match wanted > newest {
            true => (log.to_owned(), true),
            false => (numbered(log, wanted), false),
        };
        match File::open(&path) {
            Ok(file) => {
                // Until the file was open, it may have become full and another have taken its name.
                if is_current && newest_full(log) != newest {
                    continue;
                }
                let number = if is_current { newest + 1 } else { wanted };
                return Ok(Some(Numbered { file: Arc::new(file), number }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if newest_full(log) == newest && is_current {
                    return Ok(None);
                }
                if newest_full(log) == newest {
                    // Deleted with nothing in its place: the log is being forgotten.
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// All files of a log that are there, the oldest first.
pub(super) fn all(log: &Path) -> io::Result<Vec<Numbered>> {
    let mut files = Vec::new();
    let mut number = 0;
    while let Some(one) = open_from(log, number)? {
        number = one.number + 1;
        let last = !is_full(log, one.number);
        files.push(one);
        if last {
            break;
        }
    }
    Ok(files)
}

pub(super) fn path(folder: &Path, short_name: &str, generation: Generation) -> PathBuf {
    folder.join(format!("{short_name}.g{generation}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_generation_and_the_newest_keep_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        for generation in 1..=25 {
            for name in ["worker-1", "worker-10"] {
                let log = path(folder.path(), name, Generation(generation));
                fs::write(&log, "x").unwrap();
                fs::write(numbered(&log, 1), "x").unwrap();
            }
        }
        forget_old(folder.path(), "worker-1");
        let left: Vec<u32> =
            generations(folder.path(), "worker-1").iter().map(|one| one.0).collect();
        assert_eq!(left, [1, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
        assert_eq!(generations(folder.path(), "worker-10").len(), 25, "another replica's stay");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2 * (10 + 25));
    }
}
