//! Mount points: the one that is there, or what is missing of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::super::failure::Failure;

/// A mount point that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// The innermost directory that is there, without links.
    pub(super) parent: PathBuf,
    /// What is missing below it; not empty.
    rest: PathBuf,
}

impl Missing {
    /// The whole path.
    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(&self.rest)
    }

    /// Makes it: the last part as a directory or as an empty file. Each directory that is made is told.
    pub(super) fn make(&self, directory: bool, mut made: impl FnMut(&Path)) -> io::Result<PathBuf> {
        let mut at = self.parent.clone();
        let count = self.rest.components().count();
        for (index, part) in self.rest.components().enumerate() {
            at.push(part);
            if index + 1 < count || directory {
                fs::create_dir(&at)?;
                made(&at);
            } else {
                fs::File::create(&at)?;
            }
        }
        Ok(at)
    }
}

/// Looks for a mount point. Links are followed, as a program would follow them.
pub(super) fn find(path: &Path, directory: bool) -> Result<Result<PathBuf, Missing>, Failure> {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path.parent().is_none() {
        return Err(Failure::permanent(
            "the path must be absolute, must not be / itself, and must not contain '..'",
        ));
    }
    for ancestor in path.ancestors() {
        let real = match fs::canonicalize(ancestor) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(ancestor).is_ok() {
                    return Err(Failure::permanent(format!(
                        "{} is a link to something that does not exist",
                        ancestor.display()
                    )));
                }
                continue;
            }
            Err(error) => {
                return Err(Failure::permanent(format!("{}: {error}", ancestor.display())));
            }
        };
        let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
        let is_directory = real.is_dir();
        if rest.as_os_str().is_empty() {
            return match (is_directory, directory) {
                (true, true) | (false, false) => Ok(Ok(real)),
                (true, false) => {
                    Err(Failure::permanent("the volume is a file and there is a directory"))
                }
                (false, true) => {
                    Err(Failure::permanent("the volume is a directory and there is a file"))
                }
            };
        }
        if !is_directory {
            return Err(Failure::permanent(format!("{} is no directory", real.display())));
        }
        return Ok(Err(Missing { parent: real, rest: rest.to_owned() }));
    }
    Err(Failure::passing("the root directory cannot be looked at"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_innermost_directory_is_found_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let missing = |parent: &str, rest: &str| {
            Err(Missing { parent: root.join(parent), rest: rest.into() })
        };

        assert_eq!(find(&root.join("a/b"), true), Ok(Ok(root.join("a/b"))));
        assert_eq!(find(&root.join("link/b"), true), Ok(Ok(root.join("a/b"))));
        assert_eq!(find(&root.join("file"), false), Ok(Ok(root.join("file"))));
        assert_eq!(find(&root.join("link/c/d"), true), Ok(missing("a", "c/d")));
        assert!(find(&root.join("file"), true).is_err());
        assert!(find(&root.join("a"), false).is_err());
        assert!(find(&root.join("file/x"), true).is_err());
        assert!(find(&root.join("dangling/x"), true).is_err());
        for bad in ["relative", "/", "/a/../b"] {
            assert!(find(Path::new(bad), true).is_err(), "{bad}");
        }

        let gap = Missing { parent: root.join("a"), rest: "c/d".into() };
        let mut made = Vec::new();
        gap.make(true, |one| made.push(one.to_owned())).unwrap();
        assert_eq!(made, [root.join("a/c"), root.join("a/c/d")]);
    }
}
