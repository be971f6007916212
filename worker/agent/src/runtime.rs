//! What runs replicas: one trait, and the runtime that runs them as processes of the machine.
//!
//! The trait stands in `contract`; its promises are tested in `tests/contract.rs`, for any runtime.

mod contract;
mod images;
mod logs;
mod process;

pub use contract::{Adopted, Events, Opened, Runtime, RuntimeEvent, Seen, Until};
pub use images::{ExecutionEnvironment, ImageError, Images, Source};
pub(crate) use logs::line;
pub use logs::{Entry, LogChunk, LogError, LogQuery, LogStream, Stamp, Stream};
pub use muster_agent_core::Observation;
pub use process::{Config, Error, ProcessRuntime, ShimCommand};
