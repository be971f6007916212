//! Agents' sessions: the coordinator's end.

mod answers;
mod convert;
mod details;
mod leases;
mod service;
mod witness;

pub(crate) use answers::Answers;
pub(crate) use details::Details;
pub(crate) use leases::Leases;
pub(crate) use service::{AgentService, SessionContext};
pub(crate) use witness::WitnessService;
