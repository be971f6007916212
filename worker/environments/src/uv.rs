//! Finding uv, or fetching it once.
//!
//! In this order: `MUSTER_UV`, PATH, the copy in the store's own folder, and if there is none a fetch of
//! that copy with pip. uv is one static program: what is kept is that file, moved into place when it
//! is whole; the environment that pip needed for it goes again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::interpreter::Interpreter;
use crate::lock::BuildLock;
use crate::machine::{Machine, is_program};
use crate::progress::{Phase, Reporter};
use crate::tool::{Ended, Event, Tool};
use crate::version::Version;

/// The oldest uv whose options and variables are used here.
const OLDEST: &str = "0.5";

/// The first uv that takes `--torch-backend` with `pip install`.
const WITH_TORCH_BACKEND: &str = "0.6.9";

const VERSION_LIMIT: Duration = Duration::from_secs(20);
const FETCH_LIMIT: Duration = Duration::from_secs(300);

/// A uv that runs.
#[derive(Debug, Clone)]
pub(crate) struct Uv {
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
}

impl Uv {
    pub(crate) fn has_torch_backend(&self) -> bool {
        Version::parse(WITH_TORCH_BACKEND).is_some_and(|first| self.version >= first)
    }
}

/// What is needed to look for uv.
pub(crate) struct Finder<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) cancel: &'a Cancel,
    /// The store's folder for tools, `.tools`.
    pub(crate) folder: &'a Path,
}

impl Finder<'_> {
    /// The uv that is there, if one is. `Ok(None)` also where `MUSTER_UV=off` forbids it.
    pub(crate) fn find(&self) -> Result<Option<Uv>, Error> {
        if let Some(chosen) = self.machine.get("MUSTER_UV") {
            if self.is_off() {
                return Ok(None);
            }
            return self.chosen(Path::new(chosen)).map(Some);
        }
        let own = self.folder.join("uv");
        for program in self.machine.programs("uv").into_iter().chain([own]) {
            match self.check(&program) {
                Ok(Ok(uv)) => return Ok(Some(uv)),
                Ok(Err(problem)) => {
                    tracing::debug!(program = %program.display(), problem, "this uv is not used");
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => tracing::debug!(%error, "this uv is not used"),
            }
        }
        Ok(None)
    }

    /// Fetches uv into the store's folder. `Ok(None)` with a reason in words if that did not work: pip
    /// will do.
    pub(crate) fn fetch(
        &self,
        interpreter: &Interpreter,
        reporter: &mut Reporter<'_>,
    ) -> Result<Result<Uv, String>, Error> {
        if self.is_off() {
            return Ok(Err("MUSTER_UV is off".to_owned()));
        }
        if !interpreter.has_venv {
            return Err(Error::NoVenv { python: interpreter.program.clone() });
        }
        reporter.phase(Phase::FetchingUv);
        fs::create_dir_all(self.folder).map_err(Error::io("create", self.folder))?;
        let lock = BuildLock::acquire(&self.folder.join("lock"), self.cancel, reporter)?;
        // Somebody else may have fetched it while this call waited.
        if let Some(uv) = self.find()? {
            return Ok(Ok(uv));
        }
        reporter.phase(Phase::FetchingUv);
        // One name for all: under the lock, what is left of a killed fetch is ours to clear.
        let scratch = self.folder.join("fetch");
        remove_if_there(&scratch)?;
        let fetched = self.fetch_into(&scratch, interpreter, &lock, reporter);
        let moved = match fetched {
            Ok(Ok(())) => fs::rename(scratch.join("bin/uv"), self.folder.join("uv"))
                .map_err(|error| error.to_string()),
            Ok(Err(problem)) => Err(problem),
            Err(error) => {
                // The first error is the one to tell.
                let _ = remove_if_there(&scratch);
                return Err(error);
            }
        };
        remove_if_there(&scratch)?;
        match moved {
            Ok(()) => self.check(&self.folder.join("uv")),
            Err(problem) => Ok(Err(problem)),
        }
    }

    fn fetch_into(
        &self,
        scratch: &Path,
        interpreter: &Interpreter,
        lock: &BuildLock,
        reporter: &mut Reporter<'_>,
    ) -> Result<Result<(), String>, Error> {
        let variables = self.machine.for_tools();
        let mut run = |program: &Path, arguments: &[&OsStr]| -> Result<Ended, Error> {
            Tool {
                program,
                arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
                variables: &variables,
                folder: self.folder,
                cancel: self.cancel,
                lock: Some(lock),
                limit: Some(FETCH_LIMIT),
            }
            .run(&mut |_| reporter.tick())
        };
        let made =
            run(&interpreter.program, &["-m".as_ref(), "venv".as_ref(), scratch.as_os_str()])?;
        if !made.success() {
            return Ok(Err(format!("python -m venv failed:{}", made.output)));
        }
        let install = ["-m", "pip", "install", "--progress-bar", "off", "uv"];
        let installed = run(&scratch.join("bin/python"), &install.map(OsStr::new))?;
        if !installed.success() {
            return Ok(Err(format!("pip install uv failed:{}", installed.output)));
        }
        Ok(Ok(()))
    }

    fn is_off(&self) -> bool {
        self.machine.text("MUSTER_UV") == Some("off")
    }

    fn chosen(&self, program: &Path) -> Result<Uv, Error> {
        let problem = match self.check(program) {
            Ok(Ok(uv)) => return Ok(uv),
            Ok(Err(problem)) => problem,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => error.to_string(),
        };
        Err(Error::BadUv { program: program.to_owned(), problem })
    }

    /// Asks a program for its version. The inner error is what is wrong with it, in words.
    fn check(&self, program: &Path) -> Result<Result<Uv, String>, Error> {
        if !is_program(program) {
            return Ok(Err("it is no program".to_owned()));
        }
        let variables = self.machine.for_tools();
        let mut version = None;
        let ended = Tool {
            program,
            arguments: vec!["--version".into()],
            variables: &variables,
            folder: Path::new("/"),
            cancel: self.cancel,
            lock: None,
            limit: Some(VERSION_LIMIT),
        }
        .run(&mut |event| {
            if let Event::Line(line) = event
                && let Some(rest) = line.strip_prefix("uv ")
            {
                version = rest.split(' ').next().and_then(Version::parse);
            }
        })?;
        if !ended.success() {
            return Ok(Err(format!("uv --version ended with {}", ended.status_text())));
        }
        let Some(version) = version else {
            return Ok(Err("it does not answer to --version as uv does".to_owned()));
        };
        if Version::parse(OLDEST).is_some_and(|oldest| version < oldest) {
            return Ok(Err(format!("its version is {version}")));
        }
        Ok(Ok(Uv { program: program.to_owned(), version }))
    }
}

fn remove_if_there(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
