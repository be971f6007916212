//! Images as the environments of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use muster_environments::{
    BuildContext, Environment, EnvironmentStore, Error as BuildError, Gpu, ImageMap, MapError,
    Phase, Target, Wishes,
};
use thiserror::Error;

use crate::runtime::{ExecutionEnvironment, ImageError, Images};

/// Where environments lie and how images map to them.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// The folder of the environments.
    pub root: PathBuf,
    /// The user's image map, if there is one.
    pub map: Option<PathBuf>,
    /// What the machine has.
    pub gpu: Gpu,
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

/// Maps images to environments and builds what is missing.
#[derive(Debug)]
pub struct MappedImages {
    map: ImageMap,
    store: EnvironmentStore,
    gpu: Gpu,
    /// Environments that were handed out. Holding them keeps them from being pruned.
    held: Mutex<BTreeMap<PathBuf, Environment>>,
}

impl MappedImages {
    /// Opens the store and reads the map.
    ///
    /// # Errors
    /// When the map has mistakes or the folder cannot be used.
    pub fn open(options: &EnvironmentOptions) -> Result<Self, Error> {
        let map = match &options.map {
            Some(path) => ImageMap::load(path)?,
            None => ImageMap::builtin(),
        };
        let store = EnvironmentStore::open(&options.root)?;
        Ok(Self { map, store, gpu: options.gpu.clone(), held: Mutex::default() })
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
                variables: variables.into_iter().collect(),
                description: format!("the machine's programs ({})", resolved.origin),
                warning,
                ..ExecutionEnvironment::default()
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
                let environment = ExecutionEnvironment {
                    path_prefix: vec![built.bin.clone()],
                    variables: built.variables.clone().into_iter().collect(),
                    description: format!("virtualenv {} ({})", built.key, resolved.origin),
                    warning,
                };
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.insert(built.path.clone(), built);
                Ok(environment)
            }
        }
    }
}
