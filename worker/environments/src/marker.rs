//! `complete.json`: the file that makes a folder an environment. It is written last, when everything else
//! is on disk, so a folder without it is a build that did not finish.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::Error;
use crate::interpreter::Interpreter;
use crate::recipe::{EnvironmentKey, Recipe};

const FILE: &str = "complete.json";

/// What the marker says of its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) key: EnvironmentKey,
    pub(crate) recipe: Recipe,
    pub(crate) interpreter: Interpreter,
    /// Such as `uv 0.13.9`.
    pub(crate) builder: String,
    /// Versions by package.
    pub(crate) packages: BTreeMap<String, String>,
    /// Bytes on disk.
    pub(crate) size: u64,
    /// Seconds after 1970.
    pub(crate) created: u64,
    /// Milliseconds from the first step to this file.
    pub(crate) took: u64,
    pub(crate) notices: Vec<String>,
}

impl Marker {
    /// Reads the marker of a folder. `None` if there is none, or none that this version can read.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether the folder has a marker, readable or not.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Forces the folder to disk, then the marker.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let failed = |error| Error::io("write the marker of the environment", folder)(error);
        disk::sync_file_system(folder).map_err(failed)?;
        let mut json = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        json.push(b'\n');
        disk::write_durably(folder, FILE, &json).map_err(failed)
    }

    pub(crate) fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.created)
    }
}

/// Whether what is cheap to see of an environment is there: its configuration, and a Python to run. The
/// interpreter that it was made from may have been uninstalled, which leaves a dangling link.
pub(crate) fn looks_whole(folder: &Path) -> bool {
    let python = folder.join("bin/python");
    folder.join("pyvenv.cfg").is_file() && crate::machine::is_program(&python)
}
