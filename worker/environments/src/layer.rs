//! A layer over an environment: what a container's writable layer is to its image.
//!
//! Many training scripts install packages when they start (`pip install` in a pipeline component,
//! `packages_to_install` of the training SDKs). In a shared environment that would change every other
//! job's packages. A layer is a virtual environment of a few small files whose Python sees its own
//! packages first and then those of the environment below; pip counts the latter as installed,
//! leaves them alone, and writes to the layer. Programs of the environment that are Python scripts
//! (torchrun) are found in a form that runs with the layer's Python: see [`crate::scripts`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::Error;
use crate::scripts;
use crate::version::PythonMinor;

/// A layer. It is deleted like any folder when its processes are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The layer's folder.
    pub path: PathBuf,
    /// The folders that go first in PATH, the layer's before the environment's.
    pub bin: Vec<PathBuf>,
    /// Variables for its processes, instead of [`Environment::variables`].
    pub variables: BTreeMap<String, String>,
}

impl Layer {
    pub(crate) fn create(base: &Environment, folder: &Path) -> Result<Self, Error> {
        let minor = PythonMinor::parse(&base.python_version).unwrap_or(PythonMinor::OLDEST);
        let library = format!("lib/python{minor}/site-packages");
        let packages = folder.join(&library);
        let bin = folder.join("bin");
        for new in [&packages, &bin] {
            fs::create_dir_all(new).map_err(Error::io("create", new))?;
        }
        let configuration = fs::read_to_string(base.path.join("pyvenv.cfg"))
            .map_err(Error::io("read the configuration of", &base.path))?;
        write(&folder.join("pyvenv.cfg"), &configuration)?;
        // To the interpreter itself: a link to a link would find the wrong configuration.
        let program = base.bin.join("python");
        let program = fs::canonicalize(&program).map_err(Error::io("find", &program))?;
        for name in ["python", "python3", &format!("python{minor}")] {
            link(&program, &bin.join(name))?;
        }
        // Where Python keeps compiled packages under lib64, as Fedora's does.
        link(Path::new("lib"), &folder.join("lib64"))?;
        // addsitedir, not the bare path: the environment may have path files of its own.
        let below = base.path.join(&library);
        let line = format!("import site; site.addsitedir({:?})\n", below.display().to_string());
        write(&packages.join("_muster_below.pth"), &line)?;
        // For `. "$VIRTUAL_ENV/bin/activate"`. The environment's own, next in PATH, would leave the layer.
        write(&bin.join("activate"), "# Nothing to do: the environment is active.\n")?;
        let mut variables = base.variables.clone();
        let own = folder.display().to_string();
        variables.insert(scripts::LAYER.to_owned(), own.clone());
        variables.insert("VIRTUAL_ENV".to_owned(), own);
        let bin = vec![bin, scripts::of(base)?, base.bin.clone()];
        Ok(Self { path: folder.to_owned(), bin, variables })
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("write", path))
}

fn link(to: &Path, at: &Path) -> Result<(), Error> {
    symlink(to, at).map_err(Error::io("create", at))
}
