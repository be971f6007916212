//! Agents' sessions: the coordinator's end.

mod convert;
mod details;
mod leases;
mod service;

pub(crate) use details::Details;
pub(crate) use leases::Leases;
pub(crate) use service::{AgentService, SessionContext};
