//! Manifests from files and standard input.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// More than a coordinator accepts is not even read.
const MAX_BYTES: u64 = 4 << 20;

/// What manifests in a directory are named like.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A manifest and where it came from.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The file's name, for messages.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The directory that relative paths are taken from.
    pub(crate) directory: PathBuf,
}

/// Reads manifests; of a directory, those in it that are named so (`.yaml`, `.yml`, `.json`), in the order of their
/// names.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    for path in paths {
        if !path.is_dir() {
            manifests.push(read(path)?);
            continue;
        }
        let name = path.display();
        let fail = |error: std::io::Error| Failure::refused("M1003", format!("{name}: {error}"));
        let entries = fs::read_dir(path).map_err(fail)?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(fail)?.path();
            let extension = file.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && file.is_file()
            {
                found.push(file);
            }
        }
        if found.is_empty() {
            let message = format!("the directory {name} has no .yaml, .yml or .json file in it");
            return Err(Failure::refused("M1003", message));
        }
        found.sort();
        for file in found {
            manifests.push(read(&file)?);
        }
    }
    Ok(manifests)
}

/// Reads a manifest; `-` is standard input.
fn read(path: &Path) -> Result<Manifest, Failure> {
    let here = std::env::current_dir()?;
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut bytes)?;
        return Ok(Manifest { name: "standard input".into(), bytes, directory: here });
    }
    let name = path.display().to_string();
    let fail = |error: std::io::Error| Failure::refused("M1003", format!("{name}: {error}"));
    let file = fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(fail)?;
    let absolute = fs::canonicalize(path).map_err(fail)?;
    let directory = absolute.parent().map_or(here, Path::to_path_buf);
    Ok(Manifest { name, bytes, directory })
}
