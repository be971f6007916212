//! The gRPC door: the native API.

mod api;
mod apply;
mod auth;
mod logs;
mod status;
mod watch;

pub(crate) use api::{Api, ApiContext};
pub(crate) use auth::BearerAuth;
pub(crate) use status::status_of;
