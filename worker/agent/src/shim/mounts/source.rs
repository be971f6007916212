//! The path below a volume's root that a mount names, opened so that no link leads out of the volume.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open as open_path, openat2};
use rustix::io::Errno;

#[derive(Debug)]
pub(super) enum Error {
    /// The path, or a link in it, leads out of the volume.
    Escapes,
    /// Something cannot be opened or made.
    Open(PathBuf, io::Error),
}

/// Opens `sub_path` below `root`. What is missing of it is made, if that is allowed.
pub(super) fn open(root: &Path, sub_path: &str, may_make: bool) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let failed = |path: &Path, errno: Errno| match errno {
        Errno::XDEV | Errno::LOOP => Error::Escapes,
        errno => Error::Open(root.join(path), errno.into()),
    };
    let mut at =
        open_path(root, flags, Mode::empty()).map_err(|errno| failed(Path::new(""), errno))?;
    let top = at.try_clone().map_err(|error| Error::Open(root.into(), error))?;
    let mut walked = PathBuf::new();
    for component in Path::new(sub_path).components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => return Err(Error::Escapes),
        };
        walked.push(name);
        // From the top each time, so that a link may point anywhere within the volume.
        let step = || {
            openat2(
                &top,
                &walked,
                flags,
                Mode::empty(),
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            )
        };
        at = match step() {
            Err(Errno::NOENT) if may_make => {
                mkdirat(&at, name, Mode::from_raw_mode(0o755))
                    .map_err(|errno| failed(&walked, errno))?;
                step()
            }
            other => other,
        }
        .map_err(|errno| failed(&walked, errno))?;
    }
    Ok(at)
}

/// Whether an opened path is a directory.
pub(super) fn is_directory(fd: &OwnedFd) -> bool {
    let copy = fd.try_clone().map(File::from);
    copy.and_then(|file| file.metadata()).is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_sub_path_is_made_and_stays_within() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("file"), "x").unwrap();
        fs::create_dir(root.join("real")).unwrap();
        symlink("real", root.join("inside")).unwrap();
        symlink("../..", root.join("up")).unwrap();
        symlink(outside.path(), root.join("away")).unwrap();
        symlink("gone", root.join("dangling")).unwrap();

        assert!(is_directory(&open(root, "", true).unwrap()));
        assert!(is_directory(&open(root, "a/b/c", true).unwrap()));
        assert!(root.join("a/b/c").is_dir());
        assert!(!is_directory(&open(root, "file", true).unwrap()));
        assert!(is_directory(&open(root, "inside/new", true).unwrap()));
        assert!(root.join("real/new").is_dir());
        for bad in ["..", "a/../..", "/etc", "up", "up/etc", "away", "away/x"] {
            assert!(matches!(open(root, bad, true), Err(Error::Escapes)), "{bad}");
        }
        assert!(matches!(open(root, "missing", false), Err(Error::Open(..))));
        assert!(!root.join("missing").exists());
        assert!(open(root, "dangling/x", true).is_err());
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    }
}
