//! L2: the coordinator daemon.
//!
//! tonic and axum around the brain: front doors, agents' sessions, the planner's pump and the thread that
//! owns state, consensus and disk. See `docs/architecture.md`.

mod access;
mod backup;
mod brain;
mod clock;
mod config;
mod coordinator;
mod grpc;
mod http;
mod hub;
mod idle;
mod logs;
mod metrics;
mod objects;
mod peers;
mod planner;
mod rest;
mod sessions;
mod submission;
mod token;
mod trust;

pub use backup::{Error as RestoreError, Restored, restore};
pub use config::{Config, Error as ConfigError, GRPC_PORT, HTTP_PORT, Join, JoinWith};
pub use coordinator::{Addresses, Certifier, Coordinator, Error, Started};
pub use token::token_path;
pub use trust::{https_authority_path, operator_path};
