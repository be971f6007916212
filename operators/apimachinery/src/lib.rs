//! L1: what a Kubernetes-style API does whatever its kinds are.
//!
//! Requests come in as JSON values, and answers go out as such: this crate knows neither HTTP nor what Muster stores.
//! The names are those of `k8s.io/apimachinery`.
//!
//! - [`ApiStatus`]: refusals as the `Status` objects that clients branch on.
//! - [`ResourceInfo`]: what a resource is called and can do; discovery and OpenAPI are made of these.
//! - [`LabelSelector`], [`FieldSelector`]: what a list or a watch is about.
//! - [`Query`]: the options in a URL.
//! - [`table()`]: objects as rows, for `kubectl get`.
//! - [`merge_patch`], [`json_patch`], [`strategic_patch`]: how objects are changed.
//! - [`decode_protobuf`]: bodies of clients that do not send JSON.

mod discovery;
mod openapi;
mod patch;
mod protobuf;
mod query;
mod resource;
mod selector;
mod status;
mod strategic;
mod table;
mod time;

pub use discovery::{AGGREGATED, aggregated, api_versions, group, group_list, resource_list};
pub use openapi::{OPENAPI_V2, openapi_v2, openapi_v3, openapi_v3_root};
pub use patch::{PatchError, json_patch, merge_patch};
pub use protobuf::{ProtobufError, decode_protobuf};
pub use query::{Query, QueryError};
pub use resource::{ResourceInfo, Subresource, Verb};
pub use selector::{FieldSelector, LabelSelector, SelectorError};
pub use status::{ApiStatus, Cause, Details, StatusReason};
pub use strategic::strategic_patch;
pub use table::{Include, table};
pub use time::parse_time;
