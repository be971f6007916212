//! Who may do what at the gRPC door.
//!
//! Each request is somebody's: by the certificate of its connection, or by the token it shows. [`Guard`] finds out whose,
//! keeps those out who have no business with a service at all, and hands the [`Caller`] on; what depends on a namespace the
//! handlers ask it themselves.

mod caller;
mod guard;
mod known;
mod layer;

pub(crate) use caller::{Caller, caller};
pub(crate) use guard::{Guard, OPERATOR};
pub(crate) use known::Known;
pub(crate) use layer::AccessLayer;
