//! The agent daemon: a session with the coordinator on one side, a runtime on the other, and between them the
//! pure [`muster_agent_core::Replicas`], which says what to do.
//!
//! The daemon holds no state of its own that matters: replicas live under their shims, and what is to be done about
//! them comes from the coordinator. Without a coordinator everything that runs goes on running.

mod asking;
mod config;
mod convert;
mod daemon;
mod enrol;
mod environments;
mod identity;
mod link;
mod uploads;
mod witness;

pub use config::{Access, Certify, Config, CutOff, Error as ConfigError, default_node_name};
pub use daemon::{Agent, Error};
pub use enrol::Error as EnrolError;
pub use environments::{EnvironmentOptions, Error as ImagesError, MappedImages, gpu_of};
