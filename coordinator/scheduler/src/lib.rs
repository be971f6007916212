//! L1: places whole gangs or explains why not.
//!
//! [`plan`] is a pure function of a snapshot, a policy and the time. It runs beside the decide loop;
//! what it proposes is checked again by the brain before it becomes true.

mod explain;
mod fit;
mod plan;
mod policy;
mod room;

pub use plan::{Plan, plan};
pub use policy::Policy;
