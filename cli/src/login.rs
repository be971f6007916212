//! What `muster login` remembers: a coordinator, and the user's token.

use std::path::PathBuf;

use muster_trust::{exists, read_private, write_private};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// A coordinator, and the user's token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// Where it is.
    pub(crate) server: String,
    /// The user's token.
    pub(crate) token: String,
}

impl Login {
    /// Where it is kept: `$XDG_CONFIG_HOME/muster/login.json`.
    fn path() -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|d| d.is_absolute());
        let config = config.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
        Some(config.join("muster/login.json"))
    }

    fn named_path() -> Result<PathBuf, Failure> {
        Self::path().ok_or_else(|| {
            Failure::usage("there is no home directory to remember a login in; set XDG_CONFIG_HOME")
        })
    }

    /// What was remembered, if anything.
    pub(crate) fn load() -> Result<Option<Self>, Failure> {
        let Some(path) = Self::path().filter(|path| exists(path)) else { return Ok(None) };
        let text = read_private(&path).map_err(|error| Failure::usage(error.to_string()))?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let path = path.display();
            Failure::usage(format!("{path} is damaged ({error}); `muster logout` removes it"))
        })
    }

    /// Remembers it.
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        let path = Self::named_path()?;
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::usage(error.to_string()))?;
        write_private(&path, &text).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(path)
    }

    /// Forgets it; answers whether there was one.
    pub(crate) fn forget() -> Result<bool, Failure> {
        match std::fs::remove_file(Self::named_path()?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
