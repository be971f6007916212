//! What uv and pip print when their output is a pipe, read as progress and as causes of failure.
//!
//! uv (0.5 to 0.13) prints `Resolved 12 packages in 179ms`, `Downloading torch (541.2MiB)` for packages
//! above a megabyte, ` Downloaded torch`, `Prepared 12 packages in ..`, `Installed ..`, `Bytecode
//! compiled 488 files in ..`. pip (20 to 26) prints `Collecting torch==2.4`, `  Downloading
//! torch-2.4-cp311-….whl (541.2 MB)`, `  Using cached …`, `Installing collected packages: a, b`. An
//! unknown line changes nothing: other versions cost the progress messages, not the build.

use std::collections::BTreeMap;

use crate::error::{Error, Output};
use crate::progress::Phase;
use crate::requirement::Requirement;
use crate::tool::Ended;
use crate::version::PythonMinor;

/// Reads the lines of one run of an installer.
#[derive(Debug, Default)]
pub(crate) struct InstallerOutput {
    /// Sizes by package.
    known: BTreeMap<String, u64>,
    total: u64,
    done: u64,
    /// pip downloads one after the other: the next line means that the last one is complete.
    current: Option<u64>,
}

impl InstallerOutput {
    /// The phase that a line tells of.
    pub(crate) fn line(&mut self, line: &str) -> Option<Phase> {
        let text = line.trim_start();
        let (word, rest) = text.split_once(' ')?;
        match word {
            "Resolved" => Some(Phase::Installing { packages: number(rest) }),
            "Downloading" => self.downloading(rest),
            "Downloaded" => {
                let size = self.known.get(rest.trim()).copied();
                self.done += size.unwrap_or(0);
                Some(self.progress(rest.trim(), size))
            }
            "Collecting" | "Requirement" => {
                self.complete();
                Some(Phase::Resolving)
            }
            "Using" if rest.starts_with("cached") => {
                self.complete();
                None
            }
            "Prepared" => Some(Phase::Installing { packages: number(rest) }),
            "Installed" => Some(Phase::Compiling),
            "Installing" if rest.starts_with("collected packages:") => {
                self.complete();
                let count = rest.split(',').count();
                Some(Phase::Installing { packages: u32::try_from(count).ok() })
            }
            _ => None,
        }
    }

    fn downloading(&mut self, rest: &str) -> Option<Phase> {
        let (what, size) = rest.rsplit_once('(')?;
        let size = size_in_bytes(size.trim_end_matches(')'));
        let what = what.trim();
        // pip names the file, uv the package. Metadata is downloaded to resolve, not to install.
        let file = what.rsplit('/').next().unwrap_or(what);
        if file.ends_with(".metadata") {
            return None;
        }
        let is_file = file.ends_with(".whl") || file.ends_with(".tar.gz") || file.ends_with(".zip");
        let package = if is_file { file.split('-').next().unwrap_or(file) } else { file };
        self.complete();
        self.total += size.unwrap_or(0);
        if is_file {
            self.current = size;
        } else if let Some(size) = size {
            self.known.insert(package.to_owned(), size);
        }
        Some(self.progress(package, size))
    }

    fn complete(&mut self) {
        self.done += self.current.take().unwrap_or(0);
    }

    fn progress(&self, package: &str, size: Option<u64>) -> Phase {
        Phase::Downloading { package: package.to_owned(), size, done: self.done, total: self.total }
    }
}

fn number(text: &str) -> Option<u32> {
    text.split(' ').next()?.parse().ok()
}

/// Reads `541.2MiB`, `541.2 MB`, `11 kB`.
fn size_in_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit.trim() {
        "B" | "bytes" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    // In tenths, so that no float is needed.
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = whole.parse::<u64>().ok()? * 10 + tenth.get(..1)?.parse::<u64>().ok()?;
    Some(tenths * unit / 10)
}

/// What is needed to say why a tool failed.
pub(crate) struct Failure<'a> {
    /// What was being done.
    pub(crate) step: &'static str,
    pub(crate) ended: Ended,
    pub(crate) requirements: &'a [Requirement],
    pub(crate) python: PythonMinor,
    /// The store's folder, for the room that is left.
    pub(crate) root: &'a std::path::Path,
}

const NO_SPACE: [&str; 3] = ["no space left on device", "os error 28", "disk quota exceeded"];
const NO_NETWORK: [&str; 10] = [
    "error sending request",
    "failed to fetch",
    "dns error",
    "name resolution",
    "newconnectionerror",
    "connecttimeouterror",
    "readtimeouterror",
    "failed to establish a new connection",
    "network is unreachable",
    "connection refused",
];
const UNSATISFIABLE: [&str; 5] = [
    "no solution found",
    "resolutionimpossible",
    "no matching distribution found",
    "requirements are unsatisfiable",
    "not found in the package registry",
];

impl Failure<'_> {
    /// The cause, as far as the output tells it.
    pub(crate) fn into_error(self) -> Error {
        let output = shortened(self.ended.output.clone());
        if output.mentions(&NO_SPACE) {
            return Error::NoSpace {
                root: self.root.to_owned(),
                available: crate::disk::available(self.root).unwrap_or(0),
                output,
            };
        }
        // pip reports an index that cannot be reached as a package without versions, so this first.
        if output.mentions(&NO_NETWORK) {
            return Error::NoNetwork { step: self.step, output };
        }
        if output.mentions(&UNSATISFIABLE) {
            return Error::Unsatisfiable {
                requirements: self.requirements.iter().map(ToString::to_string).collect(),
                python: self.python,
                output,
            };
        }
        Error::Tool { step: self.step, status: self.ended.status_text(), output }
    }
}

/// Lines as they fit an event: a list of all versions that a package ever had does not.
fn shortened(output: Output) -> Output {
    const LONGEST: usize = 400;
    let cut = |line: String| match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{} ...", &line[..at]),
        None => line,
    };
    Output(output.0.into_iter().map(cut).collect())
}

#[cfg(test)]
mod tests;
