//! Trying out an environment before it counts as built: every package that was asked for must be
//! there, and the modules that everything depends on must import. What imports also gets its bytecode
//! written and its files into the page cache, which the first ranks are glad of.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::lock::BuildLock;
use crate::machine::Variables;
use crate::progress::{Phase, Reporter};
use crate::requirement::Requirement;
use crate::tool::{Event, Tool};

/// An import that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// Modules that must import where their package was asked for. Others are not tried: some packages
/// need a display, a device or a license to import.
const MODULES: [(&str, &str); 16] = [
    ("deepspeed", "deepspeed"),
    ("jax", "jax"),
    ("lightgbm", "lightgbm"),
    ("numpy", "numpy"),
    ("paddlepaddle", "paddle"),
    ("pandas", "pandas"),
    ("pip", "pip"),
    ("scikit-learn", "sklearn"),
    ("scipy", "scipy"),
    ("tensorflow", "tensorflow"),
    ("tensorflow-cpu", "tensorflow"),
    ("torch", "torch"),
    ("torchvision", "torchvision"),
    ("transformers", "transformers"),
    ("xgboost", "xgboost"),
    ("xgboost-cpu", "xgboost"),
];

/// Runs in the new environment with the question as its argument. Prints a line before each import, so
/// that a hang or a crash has a name, and one line of JSON at the end.
const SCRIPT: &str = "\
import importlib, importlib.metadata as metadata, json, sys
question = json.loads(sys.argv[1])
answer = {'packages': {}, 'missing': [], 'cuda': None}
for package in metadata.distributions():
    name = package.metadata['Name']
    if name:
        answer['packages'].setdefault(name, package.version)
for name in question['packages']:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        answer['missing'].append(name)
for module in question['modules']:
    print('MUSTER import ' + module, flush=True)
    importlib.import_module(module)
if question['cuda'] and 'torch' in sys.modules:
    torch = sys.modules['torch']
    answer['cuda'] = [torch.version.cuda or '', bool(torch.cuda.is_available())]
print('MUSTER ' + json.dumps(answer), flush=True)
";

#[derive(Serialize)]
struct Question<'a> {
    packages: Vec<&'a str>,
    modules: &'a [String],
    cuda: bool,
}

#[derive(Deserialize)]
struct Answer {
    packages: BTreeMap<String, String>,
    missing: Vec<String>,
    /// The CUDA version that torch was built for, and whether it finds a GPU.
    cuda: Option<(String, bool)>,
}

/// What is tried.
pub(crate) struct Check<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) requirements: &'a [Requirement],
    /// The modules of the rule; empty: the well-known ones.
    pub(crate) modules: &'a [String],
    /// Whether torch should find a GPU.
    pub(crate) cuda: bool,
    pub(crate) variables: &'a Variables,
    pub(crate) cancel: &'a Cancel,
    pub(crate) lock: &'a BuildLock,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Versions by package.
    pub(crate) packages: BTreeMap<String, String>,
    pub(crate) notice: Option<String>,
}

impl Check<'_> {
    pub(crate) fn run(self, reporter: &mut Reporter<'_>) -> Result<Checked, Error> {
        let modules = self.modules();
        // A marker may rule a package out for this machine, so it need not be there.
        let packages = self.requirements.iter().filter(|r| !r.has_marker());
        let question = Question {
            packages: packages.map(Requirement::name).collect(),
            modules: &modules,
            cuda: self.cuda,
        };
        let question = serde_json::to_string(&question).expect("strings and a flag");
        reporter.phase(Phase::Checking { module: String::new() });
        let mut importing = None;
        let mut answer: Option<Answer> = None;
        let python = self.folder.join("bin/python");
        let ended = Tool {
            program: &python,
            // Isolated: neither the user's packages nor the folder that it runs in may help.
            arguments: ["-I", "-c", SCRIPT, &question].map(Into::into).to_vec(),
            variables: self.variables,
            folder: self.folder,
            cancel: self.cancel,
            lock: Some(self.lock),
            limit: Some(LIMIT),
        }
        .run(&mut |event| match event {
            Event::Line(line) => {
                if let Some(module) = line.strip_prefix("MUSTER import ") {
                    importing = Some(module.to_owned());
                    reporter.phase(Phase::Checking { module: module.to_owned() });
                } else if let Some(json) = line.strip_prefix("MUSTER ") {
                    answer = serde_json::from_str(json).ok();
                }
            }
            Event::Tick => reporter.tick(),
        })?;
        let Some(answer) = answer.filter(|_| ended.success()) else {
            let status = ended.status_text();
            return Err(Error::Check {
                problem: match importing {
                    Some(module) => format!("import {module} failed ({status})"),
                    None => format!("its Python failed ({status})"),
                },
                output: ended.output,
            });
        };
        if !answer.missing.is_empty() {
            return Err(Error::Check {
                problem: format!("{} is not there", answer.missing.join(", ")),
                output: ended.output,
            });
        }
        Ok(Checked {
            packages: answer.packages,
            notice: answer.cuda.and_then(|(built_for, found)| cuda_notice(&built_for, found)),
        })
    }

    fn modules(&self) -> Vec<String> {
        if !self.modules.is_empty() {
            return self.modules.to_vec();
        }
        MODULES
            .iter()
            .filter(|(package, _)| self.requirements.iter().any(|r| r.name() == *package))
            .map(|(_, module)| (*module).to_owned())
            .collect()
    }
}

fn cuda_notice(built_for: &str, found: bool) -> Option<String> {
    if found {
        return None;
    }
    Some(if built_for.is_empty() {
        "this machine has a GPU, but torch was built without CUDA".to_owned()
    } else {
        format!(
            "this machine has a GPU, but torch, which was built for CUDA {built_for}, does not find \
             it; the driver may be too old for it: pin an older torch, or update the driver"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torch_that_does_not_find_the_gpu_is_told_with_the_reason() {
        assert_eq!(cuda_notice("13.2", true), None);
        let too_new = cuda_notice("13.2", false).expect("a notice");
        assert!(too_new.contains("CUDA 13.2"), "{too_new}");
        let without = cuda_notice("", false).expect("a notice");
        assert!(without.contains("without CUDA"), "{without}");
    }
}
