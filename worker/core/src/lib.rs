//! L1: desired and observed replicas in, actions out.

pub mod launch;
mod replicas;

pub use replicas::{Action, Observation, Order, Replicas};
