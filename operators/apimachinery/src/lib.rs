//! L1: what a Kubernetes-style API does whatever its kinds are.
//!
//! Requests come in as JSON values, and answers go out as such: this crate knows neither HTTP nor what Muster stores.
//! The names are those of `k8s.io/apimachinery`.
//!
//! - [`ApiStatus`]: refusals as the `Status` objects that clients branch on.
//! - [`ResourceInfo`]: what a resource is called and can do; discovery is made of these.
//! - [`LabelSelector`], [`FieldSelector`]: what a list or a watch is about.
//! - [`Query`]: the options in a URL.

mod discovery;
mod query;
mod resource;
mod selector;
mod status;

pub use discovery::{AGGREGATED, aggregated, api_versions, group, group_list, resource_list};
pub use query::{Query, QueryError};
pub use resource::{ResourceInfo, Subresource, Verb};
pub use selector::{FieldSelector, LabelSelector, SelectorError};
pub use status::{ApiStatus, Cause, StatusReason};
