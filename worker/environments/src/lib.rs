//! L2: images as cached virtual environments of the process runtime.
//!
//! The process runtime has no images. [`ImageMap`] says which environment stands for a container's image
//! and [`EnvironmentStore`] builds it, once per machine, and hands it out. Everything here blocks; a
//! caller with an event loop runs it on a thread. `docs/images.md` is the page for users.

mod build;
mod cancel;
mod check;
mod disk;
mod environment;
mod error;
mod image;
mod interpreter;
mod inventory;
mod layer;
mod lock;
mod machine;
mod map;
mod marker;
mod output;
mod pattern;
mod pip_config;
mod process;
mod progress;
mod recipe;
mod requirement;
mod scripts;
mod spec;
mod store;
mod tool;
mod torch_index;
mod trash;
mod usage;
mod users;
mod uv;
mod version;

pub use cancel::Cancel;
pub use disk::human as human_size;
pub use environment::Environment;
pub use error::{Error, Output};
pub use image::ImageReference;
pub use interpreter::Interpreter;
pub use inventory::{PruneRule, Pruned, Stored};
pub use layer::Layer;
pub use machine::{Machine, Variables};
pub use map::{
    ANNOTATION_ENVIRONMENT, ANNOTATION_PACKAGES, AnnotationError, Error as MapError, ImageMap,
    Mistake, Mistakes, Place, Wishes,
};
pub use pattern::{Captures, Error as PatternError, ImagePattern};
pub use process::ProcessId;
pub use progress::{Phase, Progress};
pub use recipe::{EnvironmentKey, Recipe, TorchBackend};
pub use requirement::{Error as RequirementError, Requirement};
pub use spec::{EnvironmentSpec, Gpu, Resolution, Target};
pub use store::{BuildContext, EnvironmentStore};
pub use users::{User, Users};
pub use version::{PythonMinor, PythonWish, Version};
