//! L1: desired and observed replicas in, actions out.

pub mod launch;
mod replicas;
mod standing;

pub use replicas::{Action, Observation, Order, Replicas};
pub use standing::{Answer, Beat, Deadline, Promise, Questions, Standing};
