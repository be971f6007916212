//! Images as the environments of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster_environments::{
    BuildContext, EnvironmentStore, Error as BuildError, Gpu, ImageMap, MapError, Phase, Target,
    Version, Wishes,
};
use thiserror::Error;
use tracing::warn;

use crate::machine::Machine;
use crate::runtime::{ExecutionEnvironment, ImageError, Images, Source};

/// Where environments lie and how images map to them.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// The folder of the environments.
    pub root: PathBuf,
    /// The user's image map, if there is one.
    pub map: Option<PathBuf>,
}

/// Why images cannot be mapped.
#[derive(Debug, Error)]
pub enum Error {
    /// The map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The folder cannot be used.
    #[error(transparent)]
    Store(#[from] BuildError),
}

/// What environments are built for on a machine: its GPUs, if any of those that the driver knows may be given to
/// replicas. Where the capacity hides them all, or where there is only the promise of some, nothing could use them.
#[must_use]
pub fn gpu_of(machine: &Machine) -> Gpu {
    let offered = machine.gpu_indices();
    if !machine.gpus.iter().any(|gpu| offered.contains(&gpu.index)) {
        return Gpu::None;
    }
    match machine.driver.as_deref().and_then(driver_version) {
        Some(driver) => Gpu::Cuda { driver },
        None => {
            warn!(driver = ?machine.driver, "the NVIDIA driver's version is no version: environments are built without CUDA");
            Gpu::None
        }
    }
}

/// The number that a driver's version begins with: `550.54.15`, also of `550.54.15-grid`.
fn driver_version(text: &str) -> Option<Version> {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let text = text.trim();
    let end = text.find(|c| !number(c)).unwrap_or(text.len());
    Version::parse(text[..end].trim_end_matches('.'))
}

/// Maps images to environments and builds what is missing.
#[derive(Debug)]
pub struct MappedImages {
    map: ImageMap,
    store: EnvironmentStore,
    gpu: Gpu,
}

impl MappedImages {
    /// Opens the store and reads the map. `gpu` is what the machine has.
    ///
    /// # Errors
    /// When the map has mistakes or the folder cannot be used.
    pub fn open(options: &EnvironmentOptions, gpu: Gpu) -> Result<Self, Error> {
        let map = match &options.map {
            Some(path) => ImageMap::load(path)?,
            None => ImageMap::builtin(),
        };
        let store = EnvironmentStore::open(&options.root)?;
        Ok(Self { map, store, gpu })
    }
}

impl Images for MappedImages {
    fn environment_for(
        &self,
        image: &str,
        annotations: &BTreeMap<String, String>,
        progress: &mut dyn FnMut(String),
    ) -> Result<ExecutionEnvironment, ImageError> {
        let permanent = |why: String| ImageError { why, permanent: true };
        let wishes =
            Wishes::from_annotations(annotations).map_err(|error| permanent(error.to_string()))?;
        let resolved =
            self.map.resolve(image, &wishes).map_err(|error| permanent(error.to_string()))?;
        let mut warning = resolved.warning;
        match resolved.target {
            Target::None => Ok(ExecutionEnvironment {
                description: "the machine's own environment".into(),
                warning,
                ..ExecutionEnvironment::default()
            }),
            Target::Host { variables } => Ok(ExecutionEnvironment {
                source: Source::Machine {
                    path_prefix: Vec::new(),
                    variables: variables.into_iter().collect(),
                },
                description: format!("the machine's programs ({})", resolved.origin),
                warning,
            }),
            Target::Environment(spec) => {
                let context = BuildContext { gpu: self.gpu.clone(), ..BuildContext::default() };
                let mut tell = |news: muster_environments::Progress| {
                    if !matches!(news.phase, Phase::Done) {
                        progress(format!("environment of {image}: {}", news.phase));
                    }
                };
                let built = self.store.ensure(&spec, &context, &mut tell).map_err(|error| {
                    let why =
                        format!("the environment of image {image} could not be built: {error}");
                    ImageError { why, permanent: !error.is_transient() }
                })?;
                if warning.is_none() {
                    warning = built.notices.first().cloned();
                }
                Ok(ExecutionEnvironment {
                    description: format!("virtualenv {} ({})", built.key, resolved.origin),
                    source: Source::Shared(built),
                    warning,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Resources;

    use super::*;
    use crate::machine;

    /// A machine with these GPUs, so many of which it offers.
    fn machine(indices: &[u32], offered: u64, driver: Option<&str>) -> Machine {
        let gpu = |index: &u32| machine::Gpu {
            index: *index,
            model: "NVIDIA H200".into(),
            uuid: String::new(),
            memory: 0,
        };
        Machine {
            capacity: Resources::new().with("nvidia.com/gpu", offered),
            labels: BTreeMap::new(),
            boot_id: String::new(),
            gpus: indices.iter().map(gpu).collect(),
            driver: driver.map(str::to_owned),
        }
    }

    #[test]
    fn environments_are_built_for_the_gpus_that_replicas_may_use() {
        let cuda = |text| Gpu::Cuda { driver: Version::parse(text).expect("a version") };
        for (machine, expected) in [
            (machine(&[0, 1], 2, Some("550.54.15")), cuda("550.54.15")),
            (machine(&[0, 1], 1, Some("580.65.06\n")), cuda("580.65.6")),
            (machine(&[3], 1, Some("535.183.01-grid")), cuda("535.183.1")),
            // None, hidden, promised only, and a driver that says nothing of use.
            (machine(&[], 0, None), Gpu::None),
            (machine(&[0, 1], 0, Some("550.54.15")), Gpu::None),
            (machine(&[], 4, None), Gpu::None),
            (machine(&[0], 1, None), Gpu::None),
            (machine(&[0], 1, Some("N/A")), Gpu::None),
        ] {
            assert_eq!(gpu_of(&machine), expected, "{machine:?}");
        }
    }
}
