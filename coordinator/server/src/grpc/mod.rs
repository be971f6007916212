//! The gRPC door: the native API.

mod api;
mod apply;
mod logs;
mod members;
mod nodes;
mod status;
mod watch;

pub(crate) use api::{Api, ApiContext};
pub(crate) use apply::request_id;
pub(crate) use members::MembersApi;
pub(crate) use nodes::checked_labels;
pub(crate) use status::{leader_of, status_of, with_code};
