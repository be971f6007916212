//! L3: the harness of the whole-system tests: the real binary, real processes, real kills.
//!
//! A test owns a data directory and everything that runs on it. When it ends, well or badly, all of
//! that is stopped, and it is an error when a process of a replica is left.

mod binary;
mod daemon;
mod machines;
mod manifest;
mod members;
mod net;
mod orphans;
mod wait;

pub use binary::{Outcome, muster, muster_binary};
pub use daemon::{Daemon, Place, Role};
pub use machines::Machines;
pub use manifest::{Job, ddp_script};
pub use members::Members;
pub use net::Net;
pub use orphans::replica_processes;
pub use wait::{until, until_within};
