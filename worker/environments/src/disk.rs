//! Sizes on disk, and forcing things onto it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{statvfs, syncfs};

/// Bytes that a folder takes on its disk, hard links counted once per name. What cannot be read counts
/// nothing: the folder may be changing under our eyes.
pub(crate) fn usage(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            let own = metadata.blocks() * 512;
            Some(if metadata.is_dir() { own + usage(&entry.path()) } else { own })
        })
        .sum()
}

/// Bytes that we may still write on the disk of a folder.
pub(crate) fn available(folder: &Path) -> io::Result<u64> {
    let figures = statvfs(folder)?;
    Ok(figures.f_bavail * figures.f_frsize)
}

/// Forces everything that was written on the disk of a folder onto it. One call for the whole file
/// system is far cheaper than one for each of 20,000 files, most of which uv linked, not wrote.
pub(crate) fn sync_file_system(folder: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(folder)?)?)
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(crate) fn write_durably(folder: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// A size for people: 1.2 GB, 541 MB, 3.0 MB, 12 kB.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = bytes / (unit / 10);
            return if tenths < 100 {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            } else {
                format!("{} {name}", tenths / 10)
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (16_100_000, "16 MB"),
            (1_234_567_890, "1.2 GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn a_folders_usage_covers_its_files_and_folders() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).expect("folders");
        fs::write(inner.join("file"), vec![7; 100_000]).expect("a file");
        sync_file_system(folder.path()).expect("a sync");
        assert!(usage(folder.path()) >= 100_000);
        assert_eq!(usage(&folder.path().join("missing")), 0);
        assert!(available(folder.path()).expect("figures") > 0);
    }

    #[test]
    fn a_durable_file_replaces_the_old_one_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for contents in ["one", "two"] {
            write_durably(folder.path(), "file", contents.as_bytes()).expect("a file");
        }
        let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read(folder.path().join("file")).expect("a file"), b"two");
    }
}
