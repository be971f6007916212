//! What a store holds, and taking things out of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::lock::BuildLock;
use crate::marker::Marker;
use crate::process::ProcessId;
use crate::recipe::EnvironmentKey;
use crate::store::EnvironmentStore;
use crate::trash::{self, Trash};
use crate::usage::State;

/// An environment as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The name of its folder.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its key.
    pub key: EnvironmentKey,
    /// Such as `3.11.7`.
    pub python_version: String,
    /// What was asked for; without versions unless they were asked for.
    pub requirements: Vec<String>,
    /// How many packages are installed.
    pub packages: usize,
    /// Bytes on disk. Files that uv linked from its cache are counted, and are freed only when the
    /// cache lets go of them too.
    pub size: u64,
    /// When it was built.
    pub created: SystemTime,
    /// When it was used last.
    pub last_used: SystemTime,
    /// The processes that are known to use it.
    pub users: Vec<ProcessId>,
    /// Whether a process holds it without having said which processes will use it.
    pub held: bool,
}

impl Stored {
    /// Whether it cannot be removed now.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.held || !self.users.is_empty()
    }
}

/// Which unused environments to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneRule {
    /// Those that have not been used for this time.
    UnusedFor(Duration),
    /// All but this number of those used last; the ones in use count.
    Keep(usize),
    /// Every one.
    AllUnused,
}

/// What a prune did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Removed environments.
    pub removed: Vec<Stored>,
    /// Environments that the rule names, but that are in use.
    pub in_use: Vec<Stored>,
    /// Folders of interrupted builds and deletions that went with them.
    pub leftovers: Vec<PathBuf>,
}

impl EnvironmentStore {
    /// The whole environments, the last used one first.
    pub fn list(&self) -> Result<Vec<Stored>, Error> {
        let mut stored = Vec::new();
        for path in self.folders()? {
            if let Some(marker) = Marker::read(&path) {
                stored.push(self.describe(path, marker)?);
            }
        }
        stored.sort_by(|a, b| b.last_used.cmp(&a.last_used).then(a.name.cmp(&b.name)));
        Ok(stored)
    }

    /// Removes environments that nobody uses, and what interrupted builds left behind. With `dry_run`
    /// nothing is removed, and the answer says what would be.
    pub fn prune(&self, rule: PruneRule, dry_run: bool) -> Result<Pruned, Error> {
        let now = SystemTime::now();
        let mut pruned = Pruned::default();
        for (place, stored) in self.list()?.into_iter().enumerate() {
            let named = match rule {
                PruneRule::UnusedFor(time) => {
                    now.duration_since(stored.last_used).is_ok_and(|age| age >= time)
                }
                PruneRule::Keep(number) => place >= number,
                PruneRule::AllUnused => true,
            };
            if !named {
                continue;
            }
            if stored.in_use() {
                pruned.in_use.push(stored);
            } else if dry_run || self.take_out(&stored.path, &stored.key)? {
                pruned.removed.push(stored);
            } else {
                // Somebody took it up since the list was made.
                pruned.in_use.push(stored);
            }
        }
        pruned.leftovers = self.clear_leftovers(dry_run)?;
        Ok(pruned)
    }

    /// Removes one environment, named by its folder, its key, or the beginning of its key.
    pub fn remove(&self, name_or_key: &str) -> Result<Stored, Error> {
        let mut fits: Vec<Stored> = self
            .list()?
            .into_iter()
            .filter(|stored| {
                let key = !name_or_key.is_empty() && stored.key.as_str().starts_with(name_or_key);
                key || stored.name == name_or_key
            })
            .collect();
        if fits.len() > 1 {
            return Err(Error::Ambiguous {
                key: name_or_key.to_owned(),
                matches: fits.into_iter().map(|stored| stored.name).collect(),
            });
        }
        let Some(stored) = fits.pop() else {
            return Err(Error::Unknown { key: name_or_key.to_owned() });
        };
        if stored.in_use() || !self.take_out(&stored.path, &stored.key)? {
            return Err(Error::InUse { key: stored.name, users: stored.users });
        }
        Ok(stored)
    }

    fn describe(&self, path: PathBuf, marker: Marker) -> Result<Stored, Error> {
        let state = State::of(self.root(), &marker.key)?;
        let created = marker.created();
        let held = state.try_exclusive()?.is_none();
        let name = path.file_name().unwrap_or_default();
        Ok(Stored {
            name: name.to_string_lossy().into_owned(),
            python_version: marker.interpreter.version,
            requirements: marker.recipe.requirements().to_vec(),
            packages: marker.packages.len(),
            size: marker.size,
            created,
            last_used: state.last_used().unwrap_or(created),
            users: state.users(),
            held,
            key: marker.key,
            path,
        })
    }

    /// Deletes an environment unless somebody builds or uses it. Says whether it did.
    fn take_out(&self, path: &Path, key: &EnvironmentKey) -> Result<bool, Error> {
        let state = State::of(self.root(), key)?;
        let Some(build) = BuildLock::try_acquire(&state.build_lock())? else {
            return Ok(false);
        };
        let Some(exclusive) = state.try_exclusive()? else {
            return Ok(false);
        };
        if !state.users().is_empty() {
            return Ok(false);
        }
        let place = Trash::of(self.root()).take(path)?;
        state.forget();
        // From here on it is gone: nobody need wait for the deletion.
        drop((exclusive, build));
        if let Some(place) = place {
            trash::delete(&place)?;
        }
        Ok(true)
    }

    /// Removes builds that did not finish and are not going on, and what is left in the trash.
    fn clear_leftovers(&self, dry_run: bool) -> Result<Vec<PathBuf>, Error> {
        let mut cleared = Vec::new();
        for path in self.folders()? {
            let Some(key) = key_of(&path).filter(|_| !Marker::exists(&path)) else {
                continue;
            };
            let state = State::of(self.root(), &key)?;
            let Some(_lock) = BuildLock::try_acquire(&state.build_lock())? else {
                continue;
            };
            // Under the lock it may have become whole, or may have gone.
            if Marker::exists(&path) || !path.exists() {
                continue;
            }
            if !dry_run {
                Trash::of(self.root()).discard(&path)?;
            }
            cleared.push(path);
        }
        for path in Trash::of(self.root()).leftovers() {
            if !dry_run {
                trash::delete(&path)?;
            }
            cleared.push(path);
        }
        Ok(cleared)
    }

    /// The folders that are environments, or were to become some.
    fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let failed = Error::io("read the folder", self.root());
        let mut folders: Vec<PathBuf> = fs::read_dir(self.root())
            .map_err(failed)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && key_of(path).is_some())
            .collect();
        folders.sort();
        Ok(folders)
    }
}

/// The short key at the end of a folder's name. Folders of other kinds have none.
fn key_of(path: &Path) -> Option<EnvironmentKey> {
    let (_, key) = path.file_name()?.to_str()?.rsplit_once('-')?;
    EnvironmentKey::from_short(key)
}
