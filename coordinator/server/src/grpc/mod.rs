//! The gRPC door: the native API.

mod api;
mod apply;
mod auth;
mod follow;
mod status;

pub(crate) use api::{Api, ApiContext};
pub(crate) use auth::BearerAuth;
pub(crate) use status::status_of;
