//! The machine under the agent: what it has, what runs on it, and how groups of its processes are
//! limited and ended.

mod capacity;
pub(crate) mod cgroup;
pub(crate) mod clock;
mod gpu;
mod interface;
mod overrides;
pub(crate) mod processes;

pub use capacity::{Error, Machine, detect};
pub use cgroup::Options as CgroupOptions;
pub use gpu::Gpu;
pub(crate) use interface::interface_of;
pub use overrides::{Overrides, OverridesError};
