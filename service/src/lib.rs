//! L2: what every daemon of Muster shares.
//!
//! A daemon is a set of supervised tasks, a readiness that opens when all its parts have come up, and an
//! ordered stop under one grace period. See [`Supervisor`].

mod limits;
mod readiness;
mod signals;
mod supervisor;
mod telemetry;

pub use limits::raise_open_files;
pub use readiness::{Latch, Readiness};
pub use signals::Signals;
pub use supervisor::{OnEnd, OnStop, Stopped, Supervisor, TaskKind, Tasks};
pub use telemetry::{LogFormat, init as init_telemetry};
