//! L2: a typed client of the native API.
//!
//! Mutating calls carry a request id, so that a retry after a lost answer is applied once. Which errors are
//! worth a retry, and for how long, is a value: [`RetryPolicy`].

mod client;
mod error;
mod retry;
mod way;

pub use client::{BackupStream, Client, LogStream, WatchStream};
pub use error::Error;
pub use muster_proto::SESSION_PROTOCOL;
pub use muster_proto::v1 as api;
pub use muster_trust::Pass;
pub use retry::RetryPolicy;
