//! Deleting folders so that a half-deleted one is never taken for an environment: it is first moved into
//! `.trash`, which is one step, and then deleted there, which takes seconds for 20,000 files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::process::ProcessId;

/// The trash of a store.
pub(crate) struct Trash {
    folder: PathBuf,
}

/// Tells apart what one process discards at one time.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Trash {
    pub(crate) fn of(root: &Path) -> Self {
        Self { folder: root.join(".trash") }
    }

    /// Moves a folder away if it is there. It is gone from its place when this returns.
    pub(crate) fn take(&self, folder: &Path) -> Result<Option<PathBuf>, Error> {
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let owner = ProcessId::current().file_name();
        let place = self.folder.join(format!("{owner}-{number}"));
        match fs::rename(folder, &place) {
            Ok(()) => Ok(Some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("move away", folder)(error)),
        }
    }

    /// Moves a folder away and deletes it.
    pub(crate) fn discard(&self, folder: &Path) -> Result<(), Error> {
        match self.take(folder)? {
            Some(place) => delete(&place),
            None => Ok(()),
        }
    }

    /// What processes left here that are no more, or that did not finish.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let owner = name.to_str().and_then(|name| name.rsplit_once('-'));
                let owner = owner.and_then(|(owner, _)| ProcessId::from_file_name(owner));
                owner.is_none_or(|owner| !owner.is_alive())
            })
            .map(|entry| entry.path())
            .collect()
    }
}

/// Deletes a folder in the trash. Somebody else may be deleting it too.
pub(crate) fn delete(place: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("delete", place)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discarded_folder_is_gone_and_a_missing_one_is_no_error() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("x");
        fs::create_dir_all(folder.join("a/b")).expect("folders");
        let trash = Trash::of(root.path());
        trash.discard(&folder).expect("a deletion");
        assert!(!folder.exists());
        trash.discard(&folder).expect("nothing to do");
        assert!(trash.leftovers().is_empty());
    }

    #[test]
    fn what_a_dead_process_left_is_found_and_what_a_live_one_deletes_is_not() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("x");
        fs::create_dir(&folder).expect("a folder");
        let trash = Trash::of(root.path());
        let place = trash.take(&folder).expect("a move").expect("it was there");
        assert!(trash.leftovers().is_empty(), "we live");
        let left = root.path().join(".trash/4000000-1-0");
        fs::rename(place, &left).expect("a rename");
        assert_eq!(trash.leftovers(), [left]);
    }
}
