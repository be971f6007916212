//! Stores in temporary folders, specs, and this test program as a second process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use muster_environments::{
    BuildContext, Environment, EnvironmentSpec, EnvironmentStore, Error, Machine, Progress,
    Requirement,
};

/// Tells a copy of this program what to build: `ROOT PACKAGES`.
const ORDER: &str = "MUSTER_TEST_ORDER";

/// A store in a folder of its own, which goes with it.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    pub(crate) store: EnvironmentStore,
}

impl Site {
    /// A store with this machine's variables and these ones. `None` is told on stderr: no package index.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Option<Self> {
        let uv = uv()?;
        let mut all = this_machine();
        all.insert("MUSTER_UV".into(), uv.into());
        all.extend(variables.iter().map(|(k, v)| ((*k).into(), (*v).into())));
        Some(Self::on(Machine::from_variables(all)))
    }

    pub(crate) fn new() -> Option<Self> {
        Self::with(&[])
    }

    pub(crate) fn on(machine: Machine) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let store = EnvironmentStore::open_on(folder.path(), machine).expect("a store");
        Self { folder, store }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn ensure(&self, packages: &str) -> Result<Environment, Error> {
        self.store.ensure(&spec(packages), &BuildContext::default(), &mut |_| {})
    }

    /// Builds and keeps the messages.
    pub(crate) fn ensure_told(
        &self,
        packages: &str,
    ) -> (Result<Environment, Error>, Vec<Progress>) {
        let mut told = Vec::new();
        let context = BuildContext::default();
        let result =
            self.store.ensure(&spec(packages), &context, &mut |progress| told.push(progress));
        (result, told)
    }

    /// Another process that ensures the same packages in the same store.
    pub(crate) fn process(&self, packages: &str) -> OtherProcess {
        let order = format!("{} {packages}", self.root().display());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "processes::a_process_builds_what_it_is_told_to", "--nocapture"])
            .envs(this_machine())
            .env("MUSTER_UV", uv().expect("a site has uv"))
            .env(ORDER, order)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        OtherProcess { child, output }
    }
}

/// What this copy of the program was told to build.
pub(crate) fn order() -> Option<(PathBuf, String)> {
    let order = std::env::var(ORDER).ok()?;
    let (root, packages) = order.split_once(' ').expect("a root and packages");
    Some((root.into(), packages.to_owned()))
}

/// A copy of this program at work. It prints a line for each phase and `READY` or `FAILED` at the end.
pub(crate) struct OtherProcess {
    pub(crate) child: Child,
    output: BufReader<ChildStdout>,
}

impl OtherProcess {
    /// The next line that the program itself printed; `None` when it has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).expect("a pipe") == 0 {
                return None;
            }
            // The test harness prints around it.
            if let Some((_, ours)) = line.trim_end().split_once("MUSTER ") {
                return Some(ours.to_owned());
            }
        }
    }

    /// All lines to the end, and the end itself.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let lines: Vec<String> = std::iter::from_fn(|| self.line()).collect();
        self.child.wait().expect("our child");
        lines
    }

    /// Kills it as `kill -9` does: this process alone, none of its children.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

pub(crate) fn spec(packages: &str) -> EnvironmentSpec {
    EnvironmentSpec {
        packages: Requirement::parse_list(packages).expect("good packages"),
        ..EnvironmentSpec::default()
    }
}

/// How many files lie in a folder and below, and how many bytes they have.
pub(crate) fn files_below(folder: &Path) -> (usize, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let metadata = entry.metadata().expect("a file");
        if metadata.is_dir() {
            let below = files_below(&entry.path());
            sum = (sum.0 + below.0, sum.1 + below.1);
        } else {
            sum = (sum.0 + 1, sum.1 + metadata.len());
        }
    }
    sum
}

/// Runs the environment's Python.
pub(crate) fn python(environment: &Path, script: &str) -> String {
    let output = Command::new(environment.join("bin/python"))
        .args(["-c", script])
        .output()
        .expect("the environment has a Python");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The variables of this process, with uv's cache where it does not mix with the user's.
pub(crate) fn this_machine() -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv-cache");
    variables.insert("UV_CACHE_DIR".into(), cache.into());
    for other in ["MUSTER_UV", "UV_TORCH_BACKEND"] {
        variables.remove(&OsString::from(other));
    }
    variables
}

/// A uv: the machine's, or one that the store fetched, kept from one run of the tests to the next.
/// `None` without a package index.
pub(crate) fn uv() -> Option<PathBuf> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    UV.get_or_init(|| {
        let machine = Machine::from_variables(this_machine());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store-with-uv");
        let store = EnvironmentStore::open_on(&root, machine).expect("a store");
        // Not there already, and not what a run before this one removed: the index is asked.
        let built = store.ensure(&spec("iniconfig"), &BuildContext::default(), &mut |_| {});
        match built {
            Ok(_) => Some(which_uv(&root)),
            Err(Error::NoNetwork { .. }) => {
                eprintln!("skipped: the package index cannot be reached from here");
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
    .clone()
}

fn which_uv(root: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("uv"))
        .chain([root.join(".tools/uv")])
        .find(|file| {
            let version = Command::new(file).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        })
        .expect("the store found a uv")
}
