//! L1: every job kind: default, validate, expand to a gang, show status.
//!
//! A manifest goes through three pure steps: [`parse_documents`] turns its text into JSON values,
//! [`admit`] checks one of them and says what it means ([`Admitted::gang`]), and [`show`] writes the
//! object of the running job. Nothing here knows where manifests come from or where gangs run.

mod admit;
mod document;
mod findings;
mod injection;
mod jax;
mod kind;
mod launcher;
mod metadata;
mod mpi;
mod mxnet;
mod node;
mod paddle;
mod plain;
mod pod;
mod pytorch;
mod replica;
mod rfc3339;
mod roles;
mod run_policy;
mod schema;
mod status;
mod suggest;
mod syntax;
mod tensorflow;
#[cfg(test)]
mod testing;
mod trainjob;
mod update;
mod xgboost;

pub use admit::{AdmitContext, Admitted, Rejection, SUBMIT_DIR, admit};
pub use document::{
    Document, Error as ManifestError, MAX_BYTES, MAX_DEPTH, Place, parse_documents,
};
pub use findings::{Warning, WarningKind};
pub use kind::{Facts, Hint, UnknownKind, facts, supported, versions};
pub use pytorch::LAUNCHER;
pub use replica::{replica_labels, selector};
pub use rfc3339::rfc3339;
pub use status::{JobView, RoleCounts, show};
pub use trainjob::Runtimes;
pub use update::{Update, admit_update};
