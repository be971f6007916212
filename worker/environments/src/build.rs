//! Building one environment, under its lock, in the folder where it will stay: a virtual environment
//! cannot be moved, its scripts and its configuration hold its path. What is there already without a
//! marker is what a killed build left; it is thrown away, which costs little because the
//! downloads lie in uv's or pip's cache.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cancel::Cancel;
use crate::check::{Check, Checked};
use crate::disk;
use crate::error::{Error, Output};
use crate::interpreter::Interpreter;
use crate::lock::BuildLock;
use crate::machine::{Machine, Variables};
use crate::marker::Marker;
use crate::output::{Failure, InstallerOutput};
use crate::pip_config::PipConfig;
use crate::progress::{Phase, Reporter};
use crate::recipe::{Recipe, TorchBackend};
use crate::requirement::Requirement;
use crate::tool::{Ended, Event, Tool};
use crate::trash::Trash;
use crate::uv::Uv;

/// With less than this free nothing is even begun; the smallest environment takes 10 MB.
const LEAST_ROOM: u64 = 50_000_000;

const REQUIREMENTS: &str = "requirements.txt";

/// uv with what it needs to run for a store.
pub(crate) struct UvSetup<'a> {
    pub(crate) uv: &'a Uv,
    pub(crate) interpreter: &'a Interpreter,
    pub(crate) variables: Variables,
    pub(crate) cancel: &'a Cancel,
}

impl<'a> UvSetup<'a> {
    pub(crate) fn new(uv: &'a Uv, interpreter: &'a Interpreter, ground: &Ground<'a>) -> Self {
        let mut variables = ground.machine.for_tools();
        variables.extend(ground.pip.for_uv(ground.machine));
        for (name, value) in [("UV_NO_PROGRESS", "1"), ("UV_PYTHON_DOWNLOADS", "never")] {
            variables.insert(name.into(), value.into());
        }
        if let Some(cache) = own_cache(ground.machine, ground.root) {
            variables.insert("UV_CACHE_DIR".into(), cache.into());
        }
        Self { uv, interpreter, variables, cancel: ground.cancel }
    }
}

/// uv links files from its cache, which needs both on one disk. Where the user's cache is on another
/// one (a home folder on NFS), or there is no home folder, the store has a cache of its own.
fn own_cache(machine: &Machine, root: &Path) -> Option<PathBuf> {
    if machine.get("UV_CACHE_DIR").is_some() {
        return None;
    }
    let own = root.join(".cache/uv");
    let Some(usual) = machine.folder("XDG_CACHE_HOME", ".cache") else {
        return Some(own);
    };
    let device = |path: &Path| {
        let there = path.ancestors().find_map(|path| fs::metadata(path).ok());
        there.map(|metadata| metadata.dev())
    };
    (device(&usual) != device(root)).then_some(own)
}

/// What every build of a store stands on.
pub(crate) struct Ground<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) pip: &'a PipConfig,
    pub(crate) root: &'a Path,
    pub(crate) cancel: &'a Cancel,
}

/// One build.
pub(crate) struct Build<'a> {
    pub(crate) ground: &'a Ground<'a>,
    pub(crate) lock: &'a BuildLock,
    pub(crate) recipe: &'a Recipe,
    pub(crate) requirements: &'a [Requirement],
    /// The spec's modules to try.
    pub(crate) check: &'a [String],
    /// Whether torch should find a GPU.
    pub(crate) cuda: bool,
    pub(crate) torch: &'a TorchBackend,
    pub(crate) interpreter: &'a Interpreter,
    pub(crate) uv: Option<&'a Uv>,
    pub(crate) notices: Vec<String>,
}

impl Build<'_> {
    /// Builds the environment. On an error nothing of it is left.
    pub(crate) fn run(mut self, reporter: &mut Reporter<'_>) -> Result<Marker, Error> {
        let folder = self.ground.root.join(self.recipe.name());
        let trash = Trash::of(self.ground.root);
        trash.discard(&folder)?;
        let available = disk::available(self.ground.root)
            .map_err(Error::io("ask for the free space of", self.ground.root))?;
        if available < LEAST_ROOM {
            return Err(Error::NoSpace {
                root: self.ground.root.to_owned(),
                available,
                output: Output::default(),
            });
        }
        reporter.watch(&folder);
        let built = self.steps(&folder, reporter);
        if built.is_err() {
            // The error is what matters; what cannot be cleared now is cleared by the next build.
            let _ = trash.discard(&folder);
        }
        built
    }

    fn steps(&mut self, folder: &Path, reporter: &mut Reporter<'_>) -> Result<Marker, Error> {
        let start = reporter.elapsed();
        let builder = match self.uv {
            Some(uv) => self.with_uv(uv, folder, reporter)?,
            None => self.with_pip(folder, reporter)?,
        };
        let Checked { packages, notice } = Check {
            folder,
            requirements: self.requirements,
            modules: self.check,
            cuda: self.cuda,
            variables: &self.ground.machine.for_tools(),
            cancel: self.ground.cancel,
            lock: self.lock,
        }
        .run(reporter)?;
        if let Some(notice) = notice {
            reporter.phase(Phase::Notice(notice.clone()));
            self.notices.push(notice);
        }
        reporter.phase(Phase::Syncing);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let took = reporter.elapsed().saturating_sub(start);
        let marker = Marker {
            key: self.recipe.key(),
            recipe: self.recipe.clone(),
            interpreter: self.interpreter.clone(),
            builder,
            packages,
            size: disk::usage(folder),
            created: now.map_or(0, |d| d.as_secs()),
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            notices: self.notices.clone(),
        };
        self.ground.cancel.check()?;
        marker.write(folder)?;
        Ok(marker)
    }

    fn with_uv(
        &self,
        uv: &Uv,
        folder: &Path,
        reporter: &mut Reporter<'_>,
    ) -> Result<String, Error> {
        let setup = UvSetup::new(uv, self.interpreter, self.ground);
        reporter.phase(Phase::Creating);
        let mut create: Vec<OsString> =
            ["venv", "--no-project", "--python"].map(Into::into).to_vec();
        create.push(self.interpreter.program.clone().into());
        create.push(folder.into());
        let step = "creating the environment";
        self.run_tool(step, &uv.program, create, &setup.variables, reporter)?;
        let requirements = self.write_requirements(folder, self.requirements)?;
        let mut install: Vec<OsString> =
            ["pip", "install", "--compile-bytecode", "--python"].map(Into::into).to_vec();
        install.push(folder.join("bin/python").into());
        install.extend(["-r".into(), requirements.into()]);
        install.extend(self.ground.pip.arguments_for_uv());
        let mut variables = setup.variables;
        let backend = match self.torch {
            TorchBackend::Index => None,
            TorchBackend::Cpu => Some("cpu"),
            TorchBackend::Cuda { driver } => {
                // uv would ask the driver itself; the caller has done so already.
                variables.insert("UV_CUDA_DRIVER_VERSION".into(), driver.into());
                Some("auto")
            }
            TorchBackend::Named(name) => Some(name.as_str()),
        };
        if let Some(backend) = backend {
            install.extend(["--torch-backend".into(), backend.into()]);
        }
        reporter.phase(Phase::Resolving);
        let step = "installing the packages";
        let installed = self.run_tool(step, &uv.program, install, &variables, reporter);
        match installed {
            // Only pip is missing, and Python brings one along.
            Err(Error::NoNetwork { .. }) if self.is_plain() && self.interpreter.has_venv => {
                Trash::of(self.ground.root).discard(folder)?;
                self.with_pip(folder, reporter)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(format!("uv {}", uv.version)),
        }
    }

    fn with_pip(&self, folder: &Path, reporter: &mut Reporter<'_>) -> Result<String, Error> {
        if !self.interpreter.has_venv {
            return Err(Error::NoVenv { python: self.interpreter.program.clone() });
        }
        let variables = self.ground.machine.for_tools();
        reporter.phase(Phase::Creating);
        let mut create: Vec<OsString> = ["-m", "venv"].map(Into::into).to_vec();
        create.push(folder.into());
        let step = "creating the environment";
        let program = &self.interpreter.program;
        self.run_tool(step, program, create, &variables, reporter)?;
        if !self.is_plain() {
            let wanted: Vec<Requirement> = self
                .requirements
                .iter()
                // The environment has one already.
                .filter(|requirement| requirement.to_string() != "pip")
                .cloned()
                .collect();
            let requirements = self.write_requirements(folder, &wanted)?;
            let mut install: Vec<OsString> =
                ["-m", "pip", "install", "--progress-bar", "off", "-r"].map(Into::into).to_vec();
            install.push(requirements.into());
            reporter.phase(Phase::Resolving);
            let step = "installing the packages";
            let python = folder.join("bin/python");
            self.run_tool(step, &python, install, &variables, reporter)?;
        }
        Ok("pip".to_owned())
    }

    fn is_plain(&self) -> bool {
        self.requirements.iter().all(|r| r.to_string() == "pip")
    }

    fn write_requirements(&self, folder: &Path, list: &[Requirement]) -> Result<PathBuf, Error> {
        let file = folder.join(REQUIREMENTS);
        let lines: String = list.iter().map(|r| format!("{r}\n")).collect();
        fs::write(&file, lines).map_err(Error::io("write", &file))?;
        Ok(file)
    }

    fn run_tool(
        &self,
        step: &'static str,
        program: &Path,
        arguments: Vec<OsString>,
        variables: &Variables,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), Error> {
        let mut output = InstallerOutput::default();
        let ended: Ended = Tool {
            program,
            arguments,
            variables,
            folder: self.ground.root,
            cancel: self.ground.cancel,
            lock: Some(self.lock),
            limit: None,
        }
        .run(&mut |event| match event {
            Event::Line(line) => match output.line(line) {
                Some(phase) => reporter.phase(phase),
                None => reporter.tick(),
            },
            Event::Tick => reporter.tick(),
        })?;
        if ended.success() {
            return Ok(());
        }
        let failure = Failure {
            step,
            ended,
            requirements: self.requirements,
            python: self.interpreter.minor(),
            root: self.ground.root,
        };
        Err(failure.into_error())
    }
}
