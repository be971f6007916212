//! Files with secrets: written whole or not at all, and for their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use thiserror::Error;

/// More than any file of ours holds.
const LARGEST: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "{path} can be read by others (mode {mode:03o}), who may have the secret in it: make a new one, or, if nobody \
         else has access to this machine, close it with chmod 600 {path}"
    )]
    Open {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Another user made it.
    #[error(
        "{path} belongs to another user (uid {uid}), who knows what is in it: use a file of your own"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Its owner.
        uid: u32,
    },
    /// It is no such file.
    #[error("{path} is larger than any file with a key or token: this is another file")]
    Large {
        /// The file.
        path: String,
    },
    /// Its content is no text.
    #[error("{path} holds no text")]
    Text {
        /// The file.
        path: String,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    |source| Error::Io { path: path.display().to_string(), source }
}

/// Whether there is such a file.
#[must_use]
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Reads a file that holds a secret. Refuses one that others can read or have made.
///
/// # Errors
/// See [`enum@Error`].
pub fn read_private(path: &Path) -> Result<String, Error> {
    let named = || path.display().to_string();
    // Links are followed: secrets of Kubernetes and a shell's <(...) are some. What counts is the file that was opened.
    let mut file = OpenOptions::new().read(true).open(path).map_err(failed(path))?;
    let metadata = file.metadata().map_err(failed(path))?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(Error::Foreign { path: named(), uid: metadata.uid() });
    }
    // A pipe, as of a shell's <(...), has no permissions that mean anything.
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(Error::Open { path: named(), mode });
    }
    let mut text = Vec::new();
    (&mut file).take(LARGEST + 1).read_to_end(&mut text).map_err(failed(path))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::Large { path: named() });
    }
    String::from_utf8(text).map_err(|_| Error::Text { path: named() })
}

/// Replaces a file at once, for its owner only, and makes its folder if need be.
///
/// # Errors
/// What the file system says.
pub fn write_private(path: &Path, content: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let new = path.with_extension("new");
    // What an interrupted write left behind may have other permissions.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&new)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed(&new))?;
    file.write_all(content.as_bytes()).map_err(failed(&new))?;
    file.sync_all().map_err(failed(&new))?;
    fs::rename(&new, path).map_err(failed(path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_could_read_is_not_trusted_and_what_is_written_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust/key.pem");
        write_private(&path, "one").unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!(read_private(&path).unwrap(), "two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        for open in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            assert!(matches!(read_private(&path), Err(Error::Open { mode, .. }) if mode == open));
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read_private(&link), Err(Error::Open { .. })));
        fs::write(&path, vec![b'x'; (LARGEST + 1) as usize]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_private(&path), Err(Error::Large { .. })));
    }
}
