//! Which Python an environment is made with.
//!
//! The machine's `python3` if it is what the image wants; else one of the wanted version, looked for in
//! PATH (`python3.11`), in the usual system folders, among pyenv's and among uv's own; else the machine's
//! `python3` after all, with a notice. Every candidate is run, not only looked at: pyenv's shims are
//! there for versions that are not installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::machine::{Machine, is_program};
use crate::tool::{Event, Tool};
use crate::version::{PythonMinor, PythonWish, Version};

/// A Python that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program; of a virtual environment's Python, the one that it was made from.
    pub program: PathBuf,
    /// Such as `cpython`.
    pub implementation: String,
    /// Such as `3.11.7`.
    pub version: String,
    /// Such as `linux-x86_64`.
    pub platform: String,
    /// Whether it can make environments with pip in them by itself.
    pub has_venv: bool,
}

impl Interpreter {
    /// The minor version.
    #[must_use]
    pub fn minor(&self) -> PythonMinor {
        // Only versions that parse get past the probe.
        PythonMinor::parse(&self.version).unwrap_or(PythonMinor::OLDEST)
    }
}

/// A choice, and what should be said about it.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) interpreter: Interpreter,
    pub(crate) notice: Option<String>,
}

/// Finds interpreters, and remembers its choices for a while: asking a Python costs up to 100 ms.
#[derive(Debug, Default)]
pub(crate) struct Interpreters {
    chosen: Mutex<BTreeMap<String, (Instant, Choice)>>,
}

/// How long a choice is remembered. A Python that is installed later is found after this time.
const REMEMBERED: Duration = Duration::from_secs(60);

/// No Python takes this long to start, except from a dead network disk.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Prints what [`Interpreter`] holds as one line of JSON. Must run on any Python 3.
const PROBE: &str = "\
import importlib.util, json, platform, sys, sysconfig
find = importlib.util.find_spec
print('MUSTER ' + json.dumps({
    'program': getattr(sys, '_base_executable', None) or sys.executable,
    'implementation': sys.implementation.name,
    'version': '%d.%d.%d' % sys.version_info[:3],
    'platform': sysconfig.get_platform(),
    'has_venv': find('venv') is not None and find('ensurepip') is not None,
}))";

impl Interpreters {
    /// The interpreter for a wish.
    pub(crate) fn choose(
        &self,
        wish: Option<&PythonWish>,
        machine: &Machine,
        cancel: &Cancel,
    ) -> Result<Choice, Error> {
        let key = wish.map_or_else(String::new, ToString::to_string);
        {
            let chosen = self.chosen.lock().unwrap_or_else(|e| e.into_inner());
            if let Some((at, choice)) = chosen.get(&key)
                && at.elapsed() < REMEMBERED
                && is_program(&choice.interpreter.program)
            {
                return Ok(choice.clone());
            }
        }
        let search = Search { machine, cancel };
        let choice = search.choose(wish)?;
        let mut chosen = self.chosen.lock().unwrap_or_else(|e| e.into_inner());
        chosen.insert(key, (Instant::now(), choice.clone()));
        Ok(choice)
    }
}

struct Search<'a> {
    machine: &'a Machine,
    cancel: &'a Cancel,
}

impl Search<'_> {
    fn choose(&self, wish: Option<&PythonWish>) -> Result<Choice, Error> {
        let accepts = |minor: PythonMinor| {
            minor >= PythonMinor::OLDEST && wish.is_none_or(|wish| wish.accepts(minor))
        };
        let default = self.default_python()?;
        if let Some(interpreter) = default.clone().filter(|found| accepts(found.minor())) {
            return Ok(Choice { interpreter, notice: None });
        }
        if let Some(interpreter) = self.versioned(&accepts)? {
            return Ok(Choice { interpreter, notice: None });
        }
        let usable = match default.clone().filter(|d| d.minor() >= PythonMinor::OLDEST) {
            Some(default) => Some(default),
            None => self.versioned(&|minor| minor >= PythonMinor::OLDEST)?,
        };
        match (usable, wish) {
            (Some(interpreter), Some(wish)) => Ok(Choice {
                notice: Some(format!(
                    "Python {wish} is wanted but not on this machine; {} ({}) is used instead",
                    interpreter.version,
                    interpreter.program.display()
                )),
                interpreter,
            }),
            (Some(interpreter), None) => Ok(Choice { interpreter, notice: None }),
            (None, _) => Err(Error::NoPython { searched: self.describe(default.as_ref()) }),
        }
    }

    /// The first `python3` of PATH that runs.
    fn default_python(&self) -> Result<Option<Interpreter>, Error> {
        self.first_that_runs(self.machine.programs("python3"))
    }

    /// The newest `python3.N` that is accepted and runs.
    fn versioned(
        &self,
        accepts: &dyn Fn(PythonMinor) -> bool,
    ) -> Result<Option<Interpreter>, Error> {
        let mut candidates: Vec<(PythonMinor, PathBuf)> = Vec::new();
        for folder in self.folders() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            let mut here: Vec<(PythonMinor, PathBuf)> = entries
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name();
                    let minor = PythonMinor::parse(name.to_str()?.strip_prefix("python")?)?;
                    // `python3.11` and nothing like `python3.11.4`.
                    let exact = *name == *format!("python{minor}");
                    (exact && accepts(minor)).then(|| (minor, entry.path()))
                })
                .filter(|(_, path)| is_program(path))
                .collect();
            candidates.append(&mut here);
        }
        // Stable: within one version the order of the folders stays.
        candidates.sort_by_key(|(minor, _)| std::cmp::Reverse(*minor));
        let programs = candidates.into_iter().map(|(_, path)| path).collect();
        let found = self.first_that_runs(programs)?;
        Ok(found.filter(|interpreter| accepts(interpreter.minor())))
    }

    /// Folders that may hold a `python3.N`, the nearest first.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = self.machine.path();
        // An empty PATH means that nothing shall be found, not that the system is to be searched.
        if !folders.is_empty() {
            folders.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
        }
        let pyenv = self.machine.folder("PYENV_ROOT", ".pyenv");
        let uv = self.machine.get("UV_PYTHON_INSTALL_DIR").map(PathBuf::from);
        let uv = uv.or_else(|| {
            Some(self.machine.folder("XDG_DATA_HOME", ".local/share")?.join("uv/python"))
        });
        for root in [pyenv.map(|root| root.join("versions")), uv].into_iter().flatten() {
            let mut installed: Vec<PathBuf> = fs::read_dir(root)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            installed.sort_by_key(|path| std::cmp::Reverse(patch_version(path)));
            folders.extend(installed.into_iter().map(|path| path.join("bin")));
        }
        let mut seen = Vec::new();
        folders.retain(|folder| {
            let new = !seen.contains(folder);
            seen.push(folder.clone());
            new
        });
        folders
    }

    fn first_that_runs(&self, programs: Vec<PathBuf>) -> Result<Option<Interpreter>, Error> {
        for program in programs {
            match self.probe(&program) {
                Ok(Some(interpreter)) => return Ok(Some(interpreter)),
                Ok(None) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => tracing::debug!(%error, "this Python does not run"),
            }
        }
        Ok(None)
    }

    fn probe(&self, program: &Path) -> Result<Option<Interpreter>, Error> {
        let variables = self.machine.for_tools();
        let mut found = None;
        let ended = Tool {
            program,
            arguments: ["-I", "-S", "-c", PROBE].map(Into::into).to_vec(),
            variables: &variables,
            folder: Path::new("/"),
            cancel: self.cancel,
            lock: None,
            limit: Some(PROBE_LIMIT),
        }
        .run(&mut |event| {
            if let Event::Line(line) = event
                && let Some(json) = line.strip_prefix("MUSTER ")
            {
                found = serde_json::from_str::<Interpreter>(json).ok();
            }
        })?;
        let found = found.filter(|found| PythonMinor::parse(&found.version).is_some());
        Ok(found.filter(|_| ended.success()))
    }

    /// What was looked at, for the message that nothing was found.
    fn describe(&self, default: Option<&Interpreter>) -> String {
        if let Some(default) = default {
            return format!(
                "{} is {}, which is too old",
                default.program.display(),
                default.version
            );
        }
        let folders: Vec<String> =
            self.folders().iter().map(|folder| folder.display().to_string()).collect();
        if folders.is_empty() {
            return "PATH is empty".to_owned();
        }
        format!("searched {}", folders.join(", "))
    }
}

/// The version in a folder's name: `3.11.7`, `cpython-3.12.1-linux-x86_64-gnu`.
fn patch_version(path: &Path) -> Option<Version> {
    let name = path.file_name()?.to_str()?;
    name.split('-').find_map(Version::parse)
}

#[cfg(test)]
mod tests;
