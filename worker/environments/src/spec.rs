//! What an image becomes: the wish, before it meets a machine.

use std::collections::BTreeMap;

use crate::requirement::Requirement;
use crate::version::{PythonWish, Version};

/// A virtual environment to have. What is built depends on the machine too: see `Recipe`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentSpec {
    /// The Python asked for; `None` takes the machine's `python3`.
    pub python: Option<PythonWish>,
    /// The packages to install. pip itself is always there.
    pub packages: Vec<Requirement>,
    /// The packages to install instead on a machine with a usable GPU; `None`: the same ones.
    pub gpu_packages: Option<Vec<Requirement>>,
    /// Modules that must import before the environment counts as built; empty: the well-known ones
    /// among the packages.
    pub check: Vec<String>,
    /// Variables for the processes of the environment, besides its own.
    pub variables: BTreeMap<String, String>,
}

/// What a container runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The agent's own environment, with nothing added.
    None,
    /// The machine's programs, with these variables added.
    Host {
        /// Variables of the rule.
        variables: BTreeMap<String, String>,
    },
    /// A cached virtual environment.
    Environment(EnvironmentSpec),
}

/// An image resolved against the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What the container runs in.
    pub target: Target,
    /// Where this comes from, for people: "rule \"pytorch\" (built in)".
    pub origin: String,
    /// A sentence for a Warning event, where the image could not be mapped.
    pub warning: Option<String>,
}

/// What the machine can do for the environment's packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Gpu {
    /// No usable GPU: packages come without GPU libraries where there is a choice.
    #[default]
    None,
    /// NVIDIA GPUs.
    Cuda {
        /// The version of the kernel driver, such as 550.54.15 (NVML's `nvmlSystemGetDriverVersion`).
        driver: Version,
    },
}

impl EnvironmentSpec {
    /// The packages for a machine, pip among them, sorted and without doubles.
    #[must_use]
    pub fn packages_for(&self, gpu: &Gpu) -> Vec<Requirement> {
        let chosen = match (gpu, &self.gpu_packages) {
            (Gpu::Cuda { .. }, Some(packages)) => packages,
            _ => &self.packages,
        };
        let mut packages = chosen.clone();
        if !packages.iter().any(|p| p.name() == "pip") {
            // Scripts of Kubeflow Pipelines and of `train(packages_to_install=...)` call pip.
            packages.push(Requirement::parse("pip").expect("\"pip\" is a package name"));
        }
        packages.sort();
        packages.dedup();
        packages
    }

    /// Adds packages; one that is there already is replaced, so that a job can pin it otherwise.
    pub fn add_packages(&mut self, added: &[Requirement]) {
        let lists = std::iter::once(&mut self.packages).chain(self.gpu_packages.as_mut());
        for list in lists {
            list.retain(|old| added.iter().all(|new| new.name() != old.name()));
            list.extend(added.iter().cloned());
        }
    }
}
