//! L2: the agent daemon: processes, shims, environments, GPUs, logs.

pub mod agent;
pub mod machine;
pub mod runtime;
pub mod shim;
