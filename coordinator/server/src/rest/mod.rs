//! The HTTP door's Kubernetes-style API: kubectl and the SDKs of Kubeflow work against it unmodified.
//!
//! Everything that is shown comes from the [`Feed`], which follows the replicated state and keeps each object rendered,
//! with a history for watches. Everything that is written goes through the brain, as what comes over gRPC does.
//! What is served and what is not: `docs/kubernetes-api.md`.

mod access;
mod answer;
mod body;
mod feed;
mod forward;
mod history;
mod jobs;
mod log;
mod nodes;
mod read;
mod registry;
mod render;
mod review;
mod route;
mod serve;
mod stored;
mod watch;
mod write;

pub(crate) use feed::Feed;
pub(crate) use forward::forwarded;
pub(crate) use serve::{PeerInfo, RestContext, serve};
