//! The recipe of an environment, as far as its content depends on it, and the key made of it.
//!
//! Two specs with one recipe share one environment, whatever image or job they come from. The
//! versions that a resolver will choose are not part of it: an unpinned `torch` stays what it was when
//! the environment was built, as a pulled `latest` image does.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::interpreter::Interpreter;
use crate::requirement::Requirement;
use crate::spec::Gpu;
use crate::version::Version;

/// Raised when environments of one recipe are built in another way, so that old ones are not taken for
/// new ones.
const FORMAT: u32 = 1;

/// Packages of the PyTorch project, which has builds of them for each kind of machine.
const TORCH_FAMILY: [&str; 11] = [
    "accelerate",
    "deepspeed",
    "lightning",
    "pytorch-lightning",
    "sentence-transformers",
    "torch",
    "torchaudio",
    "torchdata",
    "torchmetrics",
    "torchtune",
    "torchvision",
];

/// Packages by which an environment is known, the most telling first.
const WELL_KNOWN: [&str; 14] = [
    "torch",
    "tensorflow",
    "jax",
    "paddlepaddle",
    "mxnet",
    "deepspeed",
    "lightning",
    "transformers",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
    "scikit-learn",
    "pandas",
    "numpy",
];

/// Everything that makes one environment differ from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    format: u32,
    /// Sorted, in canonical spelling.
    requirements: Vec<String>,
    /// Implementation and minor version, such as `cpython-3.11`.
    python: String,
    platform: String,
    torch: TorchBackend,
}

/// Where PyTorch's packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TorchBackend {
    /// From the package index like any other: on Linux x86-64 always with the CUDA libraries.
    Index,
    /// PyTorch's builds without GPU libraries.
    Cpu,
    /// PyTorch's builds for the CUDA versions that this driver can run.
    Cuda {
        /// The oldest driver that can run the same ones.
        driver: String,
    },
    /// What the machine's own `UV_TORCH_BACKEND` says.
    Named(String),
}

/// The first Linux drivers that run each family of CUDA versions, 13, 12 and 11 (CUDA Toolkit Release Notes,
/// table 2; uv's `crates/uv-torch/src/backend.rs` goes by the same).
const CUDA_FAMILIES: [&str; 3] = ["580", "525.60.13", "450.80.02"];

impl TorchBackend {
    /// The build that suits a machine. Drivers that can run the same builds are one to it: an update of the
    /// driver builds no environment anew, and machines with different ones agree on the key.
    pub(crate) fn suiting(gpu: &Gpu) -> Self {
        match gpu {
            Gpu::None => Self::Cpu,
            Gpu::Cuda { driver } => {
                let runs = |first: &&&str| Version::parse(first).is_some_and(|v| *driver >= v);
                let family = CUDA_FAMILIES.iter().find(runs);
                let driver = family.map_or_else(|| driver.to_string(), |&first| first.to_owned());
                Self::Cuda { driver }
            }
        }
    }
}

impl fmt::Display for TorchBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("index"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { driver } => write!(f, "cuda for driver {driver}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl Recipe {
    pub(crate) fn new(
        requirements: &[Requirement],
        interpreter: &Interpreter,
        torch: TorchBackend,
    ) -> Self {
        Self {
            format: FORMAT,
            requirements: requirements.iter().map(ToString::to_string).collect(),
            python: format!("{}-{}", interpreter.implementation, interpreter.minor()),
            platform: interpreter.platform.clone(),
            torch,
        }
    }

    /// The packages that were asked for, pip among them, in canonical spelling.
    #[must_use]
    pub fn requirements(&self) -> &[String] {
        &self.requirements
    }

    /// The key: equal for equal recipes.
    #[must_use]
    pub fn key(&self) -> EnvironmentKey {
        // Field order is fixed by the struct, so the JSON is canonical.
        let json = serde_json::to_vec(self).expect("a recipe is strings and a number");
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(&json) {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("below 16"));
            }
        }
        EnvironmentKey(text)
    }

    /// The environment's name: what it is known by, its Python, and the short key.
    #[must_use]
    pub fn name(&self) -> String {
        let python = self.python.rsplit('-').next().unwrap_or_default();
        let python = python.replace('.', "");
        format!("{}-py{python}-{}", self.known_by(), self.key().short())
    }

    fn known_by(&self) -> String {
        let parsed: Vec<Requirement> = self
            .requirements
            .iter()
            .filter_map(|text| Requirement::parse_template(text).ok())
            .collect();
        let telling = WELL_KNOWN
            .iter()
            .find_map(|name| parsed.iter().find(|r| r.name() == *name))
            .or_else(|| parsed.iter().find(|r| r.name() != "pip"));
        let Some(requirement) = telling else {
            return "plain".to_owned();
        };
        let mut name: String = requirement.name().chars().take(40).collect();
        if let Some(version) = requirement.pinned() {
            let version = version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.');
            name.push('-');
            name.extend(version.take(20));
        }
        name
    }
}

/// Whether PyTorch's own builds could matter for these packages.
pub(crate) fn needs_torch(requirements: &[Requirement]) -> bool {
    requirements.iter().any(|requirement| TORCH_FAMILY.contains(&requirement.name()))
}

/// The key of an environment: 64 hexadecimal digits, of which the first 12 name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentKey(String);

impl EnvironmentKey {
    /// A key of which only the short form is known, as from a folder's name.
    pub(crate) fn from_short(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 12 && text.bytes().all(digits)).then(|| Self(text.to_owned()))
    }

    /// The first 12 digits.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// All digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::EnvironmentSpec;

    fn interpreter(version: &str) -> Interpreter {
        Interpreter {
            program: "/usr/bin/python3".into(),
            implementation: "cpython".into(),
            version: version.into(),
            platform: "linux-x86_64".into(),
            has_venv: true,
        }
    }

    fn recipe(packages: &[&str], version: &str, torch: TorchBackend) -> Recipe {
        let spec = EnvironmentSpec {
            packages: packages.iter().map(|p| Requirement::parse(p).expect("a package")).collect(),
            ..EnvironmentSpec::default()
        };
        Recipe::new(&spec.packages_for(&Gpu::None), &interpreter(version), torch)
    }

    #[test]
    fn the_driver_decides_which_builds_of_torch_suit_a_machine() {
        assert_eq!(TorchBackend::suiting(&Gpu::None), TorchBackend::Cpu);
        for (driver, first) in [
            ("650.1", "580"),
            ("580.65.06", "580"),
            ("580", "580"),
            ("575.57.08", "525.60.13"),
            ("550.54.15", "525.60.13"),
            ("525.60.13", "525.60.13"),
            ("525.60.11", "450.80.02"),
            ("470.256.02", "450.80.02"),
            ("450.80.02", "450.80.02"),
            // Too old to be one of a family: uv decides.
            ("440.33.01", "440.33.1"),
        ] {
            let driver = Version::parse(driver).expect("a version");
            let suiting = TorchBackend::suiting(&Gpu::Cuda { driver });
            assert_eq!(suiting, TorchBackend::Cuda { driver: first.to_owned() });
        }
    }

    #[test]
    fn equal_content_has_one_key_and_any_difference_another() {
        let base = recipe(&["torch==2.4.1", "NumPy"], "3.11.7", TorchBackend::Index);
        let same = recipe(&["numpy", "torch == 2.4.1", "numpy"], "3.11.2", TorchBackend::Index);
        assert_eq!(base.key(), same.key());
        assert_eq!(base.key().as_str().len(), 64);
        for other in [
            recipe(&["torch==2.4.1"], "3.11.7", TorchBackend::Index),
            recipe(&["torch==2.4.0", "numpy"], "3.11.7", TorchBackend::Index),
            recipe(&["torch==2.4.1", "numpy"], "3.12.1", TorchBackend::Index),
            recipe(&["torch==2.4.1", "numpy"], "3.11.7", TorchBackend::Cpu),
        ] {
            assert_ne!(base.key(), other.key(), "{other:?}");
        }
    }

    #[test]
    fn the_key_of_a_recipe_never_changes() {
        // A changed key would build every environment of every machine again after an upgrade.
        let key = recipe(&["six"], "3.11.7", TorchBackend::Index).key();
        assert_eq!(key.short(), "514ec13674f5");
    }

    #[test]
    fn names_tell_what_is_inside() {
        for (packages, start) in [
            (&["numpy", "torch==2.4.1"][..], "torch-2.4.1-py311-"),
            (&["torch==2.4.*"], "torch-2.4-py311-"),
            (&["zope.interface", "six"], "six-py311-"),
            (&[], "plain-py311-"),
        ] {
            let name = recipe(packages, "3.11.7", TorchBackend::Index).name();
            assert!(name.starts_with(start), "{name}");
        }
    }
}
