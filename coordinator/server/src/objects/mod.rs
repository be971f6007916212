//! Objects in the shape that Kubernetes users know, made from the state.

mod event;
mod job;
mod node;
mod pod;
mod runtimes;
mod summary;

pub(crate) use event::event_object;
pub(crate) use job::{job_object, job_ref};
pub(crate) use node::{node_object, node_ref};
pub(crate) use pod::{pending_pod, pod_name, pod_object, pod_ref};
pub(crate) use runtimes::known_runtimes;
pub(crate) use summary::{LeaderView, gang_phase, job_summary, replica_summaries};
