//! The machine as this crate sees it: the variables of the process, taken once and passed down, and the
//! programs they lead to.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Environment variables by name.
pub type Variables = BTreeMap<OsString, OsString>;

/// The variables of a process, and what follows from them.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    variables: Variables,
}

/// Variables that would make Python, pip or uv work on something else than the environment being built.
/// `MUSTER_` is not passed on either.
const MISLEADING: [&str; 25] = [
    "CONDA_PREFIX",
    "PIP_DRY_RUN",
    "PIP_NO_DEPS",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_ROOT",
    "PIP_TARGET",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "UV_COMPILE_BYTECODE",
    "UV_MANAGED_PYTHON",
    "UV_NO_MANAGED_PYTHON",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_WORKING_DIR",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
];

impl Machine {
    /// The variables of this process.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_variables(std::env::vars_os())
    }

    /// Variables given one by one.
    pub fn from_variables<K, V>(variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables }
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// The user's home folder.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// `$NAME`, or a folder under the home one.
    pub(crate) fn folder(&self, name: &str, under_home: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).or_else(|| Some(self.home()?.join(under_home)))
    }

    /// The absolute folders of `PATH`.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        let path = self.get("PATH").unwrap_or_default();
        std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect()
    }

    /// Every program of this name in `PATH`, the first one first.
    pub(crate) fn programs(&self, name: &str) -> Vec<PathBuf> {
        self.path()
            .into_iter()
            .map(|folder| folder.join(name))
            .filter(|file| is_program(file))
            .collect()
    }

    /// The variables to start Python, pip and uv with.
    pub(crate) fn for_tools(&self) -> Variables {
        let mut variables = self.variables.clone();
        variables.retain(|name, _| {
            !MISLEADING.iter().any(|bad| OsStr::new(bad) == name)
                && !name.as_bytes().starts_with(b"MUSTER_")
        });
        for (name, value) in [
            // Their messages are read: English, without colours, without questions.
            ("LC_ALL", "C.UTF-8"),
            ("NO_COLOR", "1"),
            ("PYTHONNOUSERSITE", "1"),
            ("PYTHONUNBUFFERED", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_NO_COLOR", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            // A pip.conf may ask for these in general; in an environment they are errors.
            ("PIP_USER", "0"),
            ("PIP_REQUIRE_VIRTUALENV", "0"),
        ] {
            variables.insert(name.into(), value.into());
        }
        variables
    }
}

/// Whether a path is a file that may be executed.
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_absolute_folders_of_path() {
        let machine = Machine::from_variables([("PATH", "relative:/nonexistent:/bin:/usr/bin")]);
        let found = machine.programs("sh");
        assert_eq!(found.first(), Some(&PathBuf::from("/bin/sh")));
        assert!(machine.programs("no-such-program").is_empty());
        assert!(Machine::default().programs("sh").is_empty());
    }

    #[test]
    fn tools_do_not_see_variables_that_would_mislead_them() {
        let machine = Machine::from_variables([
            ("PYTHONPATH", "/x"),
            ("PIP_TARGET", "/x"),
            ("MUSTER_UV", "/x"),
            ("PIP_USER", "1"),
            ("PIP_INDEX_URL", "https://mirror.example.org"),
        ]);
        let variables = machine.for_tools();
        let get = |name: &str| variables.get(OsStr::new(name)).and_then(|v| v.to_str());
        assert_eq!(get("PYTHONPATH"), None);
        assert_eq!(get("PIP_TARGET"), None);
        assert_eq!(get("MUSTER_UV"), None);
        assert_eq!(get("PIP_USER"), Some("0"));
        assert_eq!(get("PIP_INDEX_URL"), Some("https://mirror.example.org"));
    }
}
