//! A layer over an environment: what a container's writable layer is to its image.
//!
//! Many training scripts install packages when they start (`pip install` in a pipeline component,
//! `packages_to_install` of the training SDKs). In a shared environment that would change every other
//! job's packages. A layer is a virtual environment of a few small files whose Python sees its own
//! packages first and then those of the environment below; pip counts the latter as installed,
//! leaves them alone, and writes to the layer. Programs of the environment that are Python scripts
//! (torchrun) are repeated in the layer, so that they run with the layer's Python.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::Error;
use crate::version::PythonMinor;

/// A longer first line is not that of a script.
const LONGEST_SCRIPT: u64 = 64 * 1024;

/// The kernel reads no more of a script's first line (`BINPRM_BUF_SIZE` of linux/binfmts.h).
const LONGEST_SHEBANG: usize = 255;

/// A layer. It is deleted like any folder when its processes are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The layer's folder.
    pub path: PathBuf,
    /// The folders that go first in PATH, the layer's before the environment's.
    pub bin: [PathBuf; 2],
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
        for name in ["python", "python3", &format!("python{minor}")] {
            let link = bin.join(name);
            // To the interpreter itself: a link to a link would find the wrong configuration.
            let program = base.bin.join("python");
            let program = fs::canonicalize(&program).map_err(Error::io("find", &program))?;
            symlink(program, &link).map_err(Error::io("create", &link))?;
        }
        // addsitedir, not the bare path: the environment may have path files of its own.
        let below = base.path.join(&library);
        let line = format!("import site; site.addsitedir({:?})\n", below.display().to_string());
        write(&packages.join("_muster_below.pth"), &line)?;
        repeat_scripts(base, &bin)?;
        let mut variables = base.variables.clone();
        variables.insert("VIRTUAL_ENV".to_owned(), folder.display().to_string());
        Ok(Self { path: folder.to_owned(), bin: [bin, base.bin.clone()], variables })
    }
}

/// Copies the scripts that name the environment's Python in their first line, with the layer's instead.
fn repeat_scripts(base: &Environment, bin: &Path) -> Result<(), Error> {
    let old = base.bin.join("python").display().to_string();
    let new = bin.join("python").display().to_string();
    if new.len() + 2 > LONGEST_SHEBANG || new.contains(char::is_whitespace) {
        // No first line can name it. They run with the environment's Python then, and do not see
        // the layer.
        return Ok(());
    }
    let entries = fs::read_dir(&base.bin).map_err(Error::io("read the folder", &base.bin))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(script) = read_script(&path) else {
            continue;
        };
        let Some((first, rest)) = script.split_once('\n') else {
            continue;
        };
        // `#!/…/bin/python`, `#!/…/bin/python3`, `#!/…/bin/python3.11`
        let Some(suffix) = first.strip_prefix("#!").and_then(|f| f.trim().strip_prefix(&old))
        else {
            continue;
        };
        if !suffix.chars().all(|c| c.is_ascii_digit() || c == '.') {
            continue;
        }
        let copy = bin.join(entry.file_name());
        write(&copy, &format!("#!{new}\n{rest}"))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("make executable", &copy))?;
    }
    Ok(())
}

fn read_script(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LONGEST_SCRIPT {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST_SCRIPT).read_to_string(&mut text).ok()?;
    text.starts_with("#!").then_some(text)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("write", path))
}
