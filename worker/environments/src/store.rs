//! The store: environments in one folder of one machine, built once and shared by everyone.
//!
//! ```text
//! ROOT/torch-2.4.1-py311-0123456789ab/   an environment; complete.json in it says that it is whole
//! ROOT/.state/0123456789ab/              its locks, its users, when it was used last
//! ROOT/.tools/uv                         uv, where the machine has none
//! ROOT/.cache/uv                         uv's cache, where the user's is on another disk
//! ROOT/.trash/                           what is being deleted
//! ```
//! Any number of processes may use one store. It must lie on a local disk: the locks are flock(2), which
//! network file systems imitate, and ranks that start together would read torch over the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::build::{Build, Ground, UvSetup};
use crate::cancel::Cancel;
use crate::disk;
use crate::environment::Environment;
use crate::error::Error;
use crate::interpreter::{Choice, Interpreters};
use crate::lock::BuildLock;
use crate::machine::Machine;
use crate::marker::{Marker, looks_whole};
use crate::pip_config::PipConfig;
use crate::progress::{Phase, Progress, Reporter};
use crate::recipe::{Recipe, TorchBackend, needs_torch};
use crate::requirement::Requirement;
use crate::spec::{EnvironmentSpec, Gpu};
use crate::torch_index;
use crate::usage::State;
use crate::uv::{Finder, Uv};

/// A folder of environments.
#[derive(Debug)]
pub struct EnvironmentStore {
    root: PathBuf,
    machine: Machine,
    interpreters: Interpreters,
}

/// What a build depends on besides its spec.
#[derive(Debug, Clone, Default)]
pub struct BuildContext {
    /// What the machine has.
    pub gpu: Gpu,
    /// Ends the call early.
    pub cancel: Cancel,
}

/// What a failed build leaves for those who waited for it.
#[derive(Debug, Serialize, Deserialize)]
struct FailedBuild {
    pid: u32,
    /// Nanoseconds after 1970.
    at: u128,
    message: String,
    transient: bool,
}

/// Everything that one call of `ensure` works with.
struct Call<'a> {
    ground: Ground<'a>,
    spec: &'a EnvironmentSpec,
    context: &'a BuildContext,
    choice: Choice,
    requirements: Vec<Requirement>,
}

impl EnvironmentStore {
    /// Opens a store with the variables of this process; the folder is made if it is not there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_on(root, Machine::from_process())
    }

    /// Opens a store with other variables, which decide where Python, uv and the index are found.
    pub fn open_on(root: &Path, machine: Machine) -> Result<Self, Error> {
        let state = root.join(".state");
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        // Environments hold their path: it must not depend on where this process stands.
        let root = fs::canonicalize(root).map_err(Error::io("find", root))?;
        Ok(Self { root, machine, interpreters: Interpreters::default() })
    }

    /// Where a user's store lies if nobody says otherwise: `$XDG_DATA_HOME/muster/environments`, or
    /// under `~/.local/share`. `None` for a process without a home folder.
    #[must_use]
    pub fn default_root(machine: &Machine) -> Option<PathBuf> {
        let data = machine.folder("XDG_DATA_HOME", ".local/share")?;
        Some(data.join("muster/environments"))
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The environment of a spec: the one that is there, or else a new one. Blocks until it is ready,
    /// also when another process builds it.
    pub fn ensure(
        &self,
        spec: &EnvironmentSpec,
        context: &BuildContext,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Environment, Error> {
        let mut reporter = Reporter::new(progress);
        let pip = PipConfig::read(&self.machine);
        let cancel = &context.cancel;
        let choice = self.interpreters.choose(spec.python.as_ref(), &self.machine, cancel)?;
        let call = Call {
            ground: Ground { machine: &self.machine, pip: &pip, root: &self.root, cancel },
            spec,
            context,
            requirements: spec.packages_for(&context.gpu),
            choice,
        };
        let mut environment = call.ensure(&mut reporter)?;
        if let Some(notice) = call.choice.notice
            && !environment.notices.contains(&notice)
        {
            environment.notices.push(notice);
        }
        reporter.phase(Phase::Done);
        Ok(environment)
    }
}

impl Call<'_> {
    fn ensure(&self, reporter: &mut Reporter<'_>) -> Result<Environment, Error> {
        let candidates = self.torch_candidates();
        for torch in &candidates {
            if let Some(environment) = self.ready(&self.recipe(torch))? {
                return Ok(environment);
            }
        }
        if let Some(notice) = &self.choice.notice {
            reporter.phase(Phase::Notice(notice.clone()));
        }
        let uv = self.uv(reporter)?;
        let torch = self.choose_torch(candidates, uv.as_ref(), reporter)?;
        match self.build_or_wait(&torch, uv.as_ref(), reporter) {
            Err(Error::NoNetwork { .. }) if self.may_fall_back(&torch) => {
                torch_index::remember(&self.state_folder(), false);
                let notice = "PyTorch's own index is out of reach, the package index is used";
                reporter.phase(Phase::Notice(notice.to_owned()));
                self.build_or_wait(&TorchBackend::Index, uv.as_ref(), reporter)
            }
            result => result,
        }
    }

    fn recipe(&self, torch: &TorchBackend) -> Recipe {
        Recipe::new(&self.requirements, &self.choice.interpreter, torch.clone())
    }

    fn state_folder(&self) -> PathBuf {
        self.ground.root.join(".state")
    }

    /// The sources of PyTorch's packages that will do, the best first.
    fn torch_candidates(&self) -> Vec<TorchBackend> {
        if !needs_torch(&self.requirements) {
            return vec![TorchBackend::Index];
        }
        let machine = self.ground.machine;
        if let Some(named) = machine.text("UV_TORCH_BACKEND") {
            return vec![TorchBackend::Named(named.to_owned())];
        }
        let uv_index = ["UV_DEFAULT_INDEX", "UV_INDEX_URL"];
        if self.ground.pip.has_own_index()
            || uv_index.iter().any(|name| machine.get(name).is_some())
        {
            // Whoever runs a mirror wants it to be used.
            return vec![TorchBackend::Index];
        }
        vec![TorchBackend::suiting(&self.context.gpu), TorchBackend::Index]
    }

    fn choose_torch(
        &self,
        mut candidates: Vec<TorchBackend>,
        uv: Option<&Uv>,
        reporter: &mut Reporter<'_>,
    ) -> Result<TorchBackend, Error> {
        let Some(uv) = uv.filter(|uv| uv.has_torch_backend()) else {
            return Ok(TorchBackend::Index);
        };
        if candidates.len() > 1 {
            let setup = UvSetup::new(uv, &self.choice.interpreter, &self.ground);
            if !torch_index::is_reachable(&setup, &self.state_folder(), reporter)? {
                return Ok(TorchBackend::Index);
            }
        }
        Ok(candidates.swap_remove(0))
    }

    fn may_fall_back(&self, torch: &TorchBackend) -> bool {
        matches!(torch, TorchBackend::Cpu | TorchBackend::Cuda { .. })
    }

    /// uv, if it is there or can be fetched.
    fn uv(&self, reporter: &mut Reporter<'_>) -> Result<Option<Uv>, Error> {
        let folder = self.ground.root.join(".tools");
        let finder =
            Finder { machine: self.ground.machine, cancel: self.ground.cancel, folder: &folder };
        if let Some(uv) = finder.find()? {
            return Ok(Some(uv));
        }
        // Python alone makes a plain environment, in the time that a fetch would take.
        if self.requirements.iter().all(|r| r.to_string() == "pip") {
            return Ok(None);
        }
        match finder.fetch(&self.choice.interpreter, reporter)? {
            Ok(uv) => Ok(Some(uv)),
            Err(problem) => {
                tracing::info!(problem, "environments are built with pip");
                Ok(None)
            }
        }
    }

    /// The environment of a recipe if it is whole.
    fn ready(&self, recipe: &Recipe) -> Result<Option<Environment>, Error> {
        let key = recipe.key();
        let folder = self.ground.root.join(recipe.name());
        // Most calls find nothing or a whole one; both without a trace.
        if !Marker::exists(&folder) {
            return Ok(None);
        }
        let lease = State::of(self.ground.root, &key)?.lease()?;
        let marker = Marker::read(&folder).filter(|marker| marker.key == key);
        Ok(marker
            .filter(|_| looks_whole(&folder))
            .map(|marker| Environment::new(folder, marker, &self.spec.variables, lease)))
    }

    fn build_or_wait(
        &self,
        torch: &TorchBackend,
        uv: Option<&Uv>,
        reporter: &mut Reporter<'_>,
    ) -> Result<Environment, Error> {
        let recipe = self.recipe(torch);
        let state = State::of(self.ground.root, &recipe.key())?;
        let asked = nanoseconds();
        let lock = BuildLock::acquire(&state.build_lock(), self.ground.cancel, reporter)?;
        if let Some(environment) = self.ready(&recipe)? {
            return Ok(environment);
        }
        if let Some(failed) = FailedBuild::read(&state).filter(|failed| failed.at > asked) {
            return Err(Error::FailedElsewhere {
                pid: failed.pid,
                message: failed.message,
                transient: failed.transient,
            });
        }
        let mut notices: Vec<String> = self.choice.notice.iter().cloned().collect();
        if Marker::exists(&self.ground.root.join(recipe.name())) {
            let notice = "the environment was damaged and is built again".to_owned();
            reporter.phase(Phase::Notice(notice.clone()));
            notices.push(notice);
        }
        let build = Build {
            ground: &self.ground,
            lock: &lock,
            recipe: &recipe,
            requirements: &self.requirements,
            check: &self.spec.check,
            cuda: matches!(self.context.gpu, Gpu::Cuda { .. }),
            torch,
            interpreter: &self.choice.interpreter,
            uv,
            notices,
        };
        let marker = match build.run(reporter) {
            Ok(marker) => marker,
            Err(error) => {
                // Whoever waited may fall back as this call does: that is theirs to find out.
                let other_way =
                    self.may_fall_back(torch) && matches!(error, Error::NoNetwork { .. });
                if !other_way {
                    FailedBuild::write(&state, &error);
                }
                return Err(error);
            }
        };
        // The lease comes before the lock goes: nobody can remove the environment in between.
        let lease = state.lease()?;
        drop(lock);
        let folder = self.ground.root.join(recipe.name());
        let mut environment = Environment::new(folder, marker, &self.spec.variables, lease);
        environment.built_now = true;
        Ok(environment)
    }
}

impl FailedBuild {
    fn read(state: &State) -> Option<Self> {
        serde_json::from_slice(&fs::read(state.failure()).ok()?).ok()
    }

    fn write(state: &State, error: &Error) {
        // A caller that gave up says nothing about the environment: the next one tries itself.
        if matches!(error, Error::Cancelled) {
            return;
        }
        let failed = Self {
            pid: std::process::id(),
            at: nanoseconds(),
            message: error.to_string(),
            transient: error.is_transient(),
        };
        // Without the note, those who wait try themselves.
        if let Ok(json) = serde_json::to_vec(&failed) {
            let _ = disk::write_durably(state.folder(), "failed.json", &json);
        }
    }
}

fn nanoseconds() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |d| d.as_nanos())
}
