//! An environment that is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::layer::Layer;
use crate::marker::Marker;
use crate::recipe::EnvironmentKey;
use crate::usage::Lease;
use crate::users::Users;

/// An environment that is ready. As long as a clone of this value lives, the environment is not pruned;
/// for processes that may outlive this one, see [`Environment::users`].
#[derive(Debug, Clone)]
pub struct Environment {
    /// The environment's folder.
    pub path: PathBuf,
    /// The folder of its programs, which goes first in PATH.
    pub bin: PathBuf,
    /// Its key.
    pub key: EnvironmentKey,
    /// Such as `3.11.7`.
    pub python_version: String,
    /// Variables for its processes: its own (`VIRTUAL_ENV`, `PYTHONNOUSERSITE`) and those of the spec.
    pub variables: BTreeMap<String, String>,
    /// Bytes on disk.
    pub size: u64,
    /// Versions by package.
    pub packages: BTreeMap<String, String>,
    /// What was worth saying when it was built or chosen, such as another Python than the wanted one.
    pub notices: Vec<String>,
    /// Whether this call built it.
    pub built_now: bool,
    lease: Arc<Lease>,
}

impl Environment {
    pub(crate) fn new(
        path: PathBuf,
        marker: Marker,
        variables: &BTreeMap<String, String>,
        lease: Lease,
    ) -> Self {
        lease.state().touch();
        let mut all = variables.clone();
        all.insert("VIRTUAL_ENV".to_owned(), path.display().to_string());
        // Packages in the home folder of whoever runs the agent are no part of the environment.
        all.insert("PYTHONNOUSERSITE".to_owned(), "1".to_owned());
        Self {
            bin: path.join("bin"),
            path,
            key: marker.key,
            python_version: marker.interpreter.version,
            variables: all,
            size: marker.size,
            packages: marker.packages,
            notices: marker.notices,
            built_now: false,
            lease: Arc::new(lease),
        }
    }

    /// Where processes that use the environment are noted: until they end, it is not pruned, even when
    /// this process has ended.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::of(&self.path, self.lease.state())
    }

    /// Makes a layer over this environment in a folder that does not exist yet: what its processes
    /// install with pip goes there and not into the environment, which other jobs share.
    pub fn layer(&self, folder: &Path) -> Result<Layer, Error> {
        Layer::create(self, folder)
    }
}
