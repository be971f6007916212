//! Manifests from files and standard input.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// More than a coordinator accepts is not even read.
const MAX_BYTES: u64 = 4 << 20;

/// A manifest and where it came from.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The file's name, for messages.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The directory that relative paths are taken from.
    pub(crate) directory: PathBuf,
}

/// Reads a manifest; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Manifest, Failure> {
    let here = std::env::current_dir()?;
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
        return Ok(Manifest { name: "standard input".into(), bytes, directory: here });
    }
    let name = path.display().to_string();
    let fail = |error: std::io::Error| Failure::refused("M1003", format!("{name}: {error}"));
    let file = fs::File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        let message = format!("{name} is a directory; name the manifests in it");
        return Err(Failure::refused("M1003", message));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(fail)?;
    let absolute = fs::canonicalize(path).map_err(fail)?;
    let directory = absolute.parent().map_or(here, Path::to_path_buf);
    Ok(Manifest { name, bytes, directory })
}
