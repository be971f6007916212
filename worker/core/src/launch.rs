//! What a container of a replica is started with: its environment, its argument list, and the
//! places where its program may lie. Pure: the facts of the node are arguments.

mod base;
mod command;
mod environment;
mod error;
mod expand;
mod field;
mod threads;

pub use base::{host_variables, path_of, portable_variables};
pub use command::{Start, argv, candidates, start_directory};
pub use environment::{Inputs, NodeFacts, Toolbox, compose, fill, value_of};
pub use error::Error;
pub use expand::expand;
pub use field::field_value;
pub use threads::threads;

/// The variable that marks every process of a replica. Its value is drawn at random for each replica
/// and generation, so that whoever carries it was started by that replica.
pub const MARKER_VARIABLE: &str = "MUSTER_REPLICA_TOKEN";
