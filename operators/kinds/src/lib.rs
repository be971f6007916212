//! L1: every job kind: default, validate, expand to a gang, show status.

mod document;

pub use document::{
    Document, Error as ManifestError, MAX_BYTES, MAX_DEPTH, Place, parse_documents,
};
