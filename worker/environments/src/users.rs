//! Processes that note themselves as users of an environment.
//!
//! Whoever hands an environment out holds it (see [`crate::Environment`]) until the process that is to use it
//! has noted itself; from then on it is that process that keeps the environment from being pruned, however the
//! other ends. The note goes with the process: a record of one that is dead counts for nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::marker::Marker;
use crate::process::ProcessId;
use crate::usage::State;

/// Where the users of an environment are noted. It can be written down and read by the process that is to be
/// noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    environment: PathBuf,
    state: PathBuf,
}

/// A process that is noted as a user. Dropped, the note is taken back.
#[derive(Debug)]
pub struct User(Option<PathBuf>);

impl Users {
    pub(crate) fn of(environment: &Path, state: &State) -> Self {
        Self { environment: environment.to_owned(), state: state.folder().to_owned() }
    }

    /// Notes a process. One that is not alive is not noted.
    ///
    /// # Errors
    /// [`Error::Gone`] when the environment has been removed meanwhile, or the note cannot be written.
    pub fn note(&self, pid: u32) -> Result<User, Error> {
        let state = State::at(&self.state);
        // A removal looks for users, and then removes, while no lease can be had.
        let _lease = state.lease().map_err(|error| self.or_gone(error))?;
        if !Marker::exists(&self.environment) {
            return Err(Error::Gone { path: self.environment.clone() });
        }
        let record = ProcessId::of(pid).map(|user| state.add_user(user)).transpose()?;
        Ok(User(record))
    }

    /// A whole store that was removed is no other case than one environment.
    fn or_gone(&self, error: Error) -> Error {
        match self.environment.exists() {
            true => error,
            false => Error::Gone { path: self.environment.clone() },
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            // A record that stays counts for nothing once its process is dead.
            let _ = fs::remove_file(record);
        }
    }
}
