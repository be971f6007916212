//! Images, as the process runtime sees them: names of environments of this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_agent_core::launch::Toolbox;
use muster_environments::{Environment, Users};
use thiserror::Error;
use tokio::sync::Mutex;

/// Finds, and makes where it is missing, the environment that an image stands for.
pub trait Images: Send + Sync + 'static {
    /// The environment of an image. May take minutes the first time, and tells meanwhile what goes on. It is
    /// called on a thread that may block, and for one image only once at a time.
    ///
    /// # Errors
    /// When there is none and none can be made.
    fn environment_for(
        &self,
        image: &str,
        annotations: &BTreeMap<String, String>,
        progress: &mut dyn FnMut(String),
    ) -> Result<ExecutionEnvironment, ImageError>;
}

/// What an image stands for on this machine.
#[derive(Debug, Clone, Default)]
pub struct ExecutionEnvironment {
    /// What its containers find first.
    pub source: Source,
    /// What it is, as a phrase, such as `virtualenv torch-2.4`.
    pub description: String,
    /// What the owner of the job should know, such as that the image is not mapped.
    pub warning: Option<String>,
}

/// Where the programs of an image's containers come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From the machine, or from folders of it.
    Machine {
        /// Folders that come first in `PATH`. None: the machine's own environment.
        path_prefix: Vec<PathBuf>,
        /// Variables that they need.
        variables: Vec<(String, String)>,
    },
    /// From an environment that other replicas use too. Each container is given a layer over it: what it
    /// installs stays its own.
    Shared(Environment),
}

impl Default for Source {
    fn default() -> Self {
        Self::Machine { path_prefix: Vec::new(), variables: Vec::new() }
    }
}

/// Why an image has no environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct ImageError {
    /// Why, and what to do, as a sentence.
    pub why: String,
    /// Whether trying again without a change is pointless.
    pub permanent: bool,
}

impl Source {
    /// What a container finds first; its own layer, if it has one, is made in a folder that does not exist yet.
    pub(crate) fn toolbox(&self, layer: &Path) -> Result<Toolbox, muster_environments::Error> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        Ok(match self {
            Self::Machine { path_prefix, variables } => Toolbox {
                path_prefix: path_prefix.iter().map(text).collect(),
                variables: variables.clone(),
            },
            Self::Shared(environment) => {
                let layer = environment.layer(layer)?;
                Toolbox {
                    path_prefix: layer.bin.iter().map(text).collect(),
                    variables: layer.variables.into_iter().collect(),
                }
            }
        })
    }

    /// Where the environment's users are noted.
    pub(crate) fn users(&self) -> Option<Users> {
        match self {
            Self::Machine { .. } => None,
            Self::Shared(environment) => Some(environment.users()),
        }
    }
}

type Wanted = (String, BTreeMap<String, String>);

/// Lets one replica at a time ask for an image; the others wait and then find it made.
#[derive(Debug, Default)]
pub(crate) struct Turns(std::sync::Mutex<BTreeMap<Wanted, Arc<Mutex<()>>>>);

impl Turns {
    /// The lock of an image. Locks that nobody holds are forgotten.
    pub(crate) fn of(&self, image: &str, annotations: &BTreeMap<String, String>) -> Arc<Mutex<()>> {
        let mut turns = self.0.lock().expect("nothing panics while it is held");
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let wanted = (image.to_owned(), annotations.clone());
        Arc::clone(turns.entry(wanted).or_default())
    }
}
