//! What exactly is executed for a container: the file, the arguments, the environment and the directory, or
//! a sentence about what is missing.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use muster_agent_core::launch::{self, Inputs, Start, value_of};
use muster_model::{ContainerSpec, GenerationContext};
use rustix::fs::{Access, access};

use super::failure::Failure;
use super::files;
use super::mounts::Namespaces;
use super::record::{ContainerPlan, Launch};

/// More places than a message should name.
const MOST_NAMED: usize = 8;

/// A container of a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    /// Its place among the init containers and the containers, in this order.
    pub(super) index: usize,
    pub(super) spec: &'a ContainerSpec,
    pub(super) plan: &'a ContainerPlan,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) file: PathBuf,
    pub(super) argv: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: String,
    /// Something to know.
    pub(super) notice: Option<String>,
}

/// Works out what is executed.
///
/// `own` is the directory in which a container starts when nothing names another; `opened` is what is known
/// since the generation is open.
pub(super) fn resolve(
    launch: &Launch,
    container: Container<'_>,
    namespaces: &Namespaces,
    own: &Path,
    moment: Moment<'_>,
) -> Result<Program, Failure> {
    let root = files::root(launch, own);
    let environment = launch::compose(&inputs(launch, container, (moment, &root)))?;
    let argv = launch::argv(container.spec, &environment)?;
    let look = || -> Result<_, Failure> {
        let (directory, notice) = directory(launch, container.spec, own)?;
        let file = find(launch, container, &argv[0], &environment, &directory)?;
        Ok((file, directory, notice))
    };
    let (file, directory, notice) =
        namespaces.within(container.index, look).map_err(|error| {
            Failure::passing(format!("cannot look into the mount namespace: {error}"))
        })??;
    Ok(Program { file, argv, environment, directory, notice })
}

/// What the environment and the files of a container depend on. `root` is what stands in front of the paths of the files.
pub(super) fn inputs<'a>(
    launch: &'a Launch,
    container: Container<'a>,
    (moment, root): (Moment<'a>, &'a str),
) -> Inputs<'a> {
    Inputs {
        spec: &launch.spec,
        container: container.spec,
        node: &launch.node,
        toolbox: &container.plan.toolbox,
        opened: moment.opened,
        local_rank: moment.local_rank,
        gpus: &container.plan.gpus,
        marker: &launch.marker,
        files_root: root,
    }
}

/// When it is executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    /// What is known since the generation is open; `None` before.
    pub(super) opened: Option<&'a GenerationContext>,
    /// Which of the replica's processes it is.
    pub(super) local_rank: u32,
}

fn directory(
    launch: &Launch,
    container: &ContainerSpec,
    own: &Path,
) -> Result<(String, Option<String>), Failure> {
    let own = || own.to_string_lossy().into_owned();
    let node = &launch.node.name;
    match launch::start_directory(container, launch.spec.submit_dir.as_deref()) {
        Start::Named(path) if Path::new(&path).is_dir() => Ok((path, None)),
        Start::Named(path) => Err(Failure::permanent(format!(
            "the workingDir {path} of container {} {} on node {node}; create it there, mount it as a volume, or \
             name another",
            container.name,
            if Path::new(&path).exists() { "is no directory" } else { "does not exist" },
        ))),
        Start::Submitted(path) if Path::new(&path).is_dir() => Ok((path, None)),
        Start::Submitted(path) => {
            let notice = format!(
                "node {node} does not have {path}, from where the job was submitted; container {} starts in an empty \
                 directory instead: set workingDir, or share the directory between the nodes",
                container.name
            );
            Ok((own(), Some(notice)))
        }
        Start::Own => Ok((own(), None)),
    }
}

fn find(
    launch: &Launch,
    container: Container<'_>,
    program: &str,
    environment: &[(String, String)],
    directory: &str,
) -> Result<PathBuf, Failure> {
    let path = value_of(environment, "PATH").unwrap_or_default();
    let candidates = launch::candidates(program, path, directory);
    let mut unusable = None;
    for candidate in &candidates {
        let file = Path::new(candidate);
        let Ok(found) = fs::metadata(file) else {
            continue;
        };
        if found.is_file() && access(file, Access::EXEC_OK).is_ok() {
            return check_interpreter(file, launch).map(|()| file.to_owned());
        }
        let why = if found.is_dir() {
            "is a directory"
        } else {
            "is not executable; make it so with chmod +x"
        };
        unusable = unusable.or(Some(format!("{candidate} {why}")));
    }
    let (name, node) = (&container.spec.name, &launch.node.name);
    if let Some(unusable) = unusable {
        return Err(Failure::permanent(format!(
            "cannot run `{program}` in container {name}: {unusable}"
        )));
    }
    let mut checked: Vec<&str> = candidates.iter().map(String::as_str).take(MOST_NAMED).collect();
    if candidates.len() > MOST_NAMED {
        checked.push("...");
    }
    let place = if program.contains('/') {
        format!("does not exist on node {node}")
    } else {
        format!(
            "is neither in the environment of image {} ({}) nor in PATH on node {node}",
            container.spec.image, container.plan.described
        )
    };
    Err(Failure::permanent(format!(
        "command not found: `{program}` of container {name} {place}; checked: {}",
        checked.join(", ")
    )))
}

/// A script whose interpreter is missing fails like a script that is missing; say which it is.
fn check_interpreter(file: &Path, launch: &Launch) -> Result<(), Failure> {
    let mut head = [0; 256];
    let length = fs::File::open(file).and_then(|mut script| script.read(&mut head)).unwrap_or(0);
    let line = head[..length].split(|byte| *byte == b'\n').next();
    let interpreter = line
        .and_then(|line| line.strip_prefix(b"#!"))
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.split_whitespace().next());
    match interpreter {
        Some(interpreter) if !Path::new(interpreter).exists() => Err(Failure::permanent(format!(
            "cannot run {}: its first line asks for {interpreter}, which does not exist on node {}",
            file.display(),
            launch.node.name
        ))),
        _ => Ok(()),
    }
}
