//! The token that lets clients and agents in: a file in the data directory that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Where the token of a data directory lies.
#[must_use]
pub fn token_path(data: &Path) -> PathBuf {
    data.join("token")
}

/// Reads the token, or makes one at the first start.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn load_or_create(data: &Path) -> io::Result<String> {
    let path = token_path(data);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            file.write_all(token.as_bytes())?;
            file.sync_all()?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(error),
    }
}

/// Makes the cluster's token this member's own, unless it has one.
///
/// # Errors
/// When the file cannot be read or written, or holds another token.
pub(crate) fn adopt(data: &Path, token: &str) -> io::Result<()> {
    let path = token_path(data);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            file.write_all(token.as_bytes())?;
            file.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if read(&path)? == token {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "{} holds another token than the cluster's; a new member needs an empty data directory",
                    path.display()
                ),
            ))
        }
        Err(error) => Err(error),
    }
}

/// A link could lead to a file that somebody else has made.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Reads a token file. One that others can read is closed to them.
fn read(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} belongs to another user (uid {}), who would know the token; use a data directory of your own",
                path.display(),
                metadata.uid()
            ),
        ));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the token; it is now closed to them");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    let mut token = String::new();
    file.read_to_string(&mut token)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is empty; delete it to get a new token", path.display()),
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let token = load_or_create(folder.path()).unwrap();
        assert!(token.len() >= 64);
        let path = token_path(folder.path());
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load_or_create(folder.path()).unwrap(), token);
        assert_eq!(mode(), 0o600);
    }
}
