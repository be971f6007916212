//! The cluster's authority at a member: who it is itself, and certificates for others.

mod api;
mod holder;

pub(crate) use api::TrustApi;
pub(crate) use holder::{Error, Trust};
pub use holder::{https_authority_path, operator_path};
