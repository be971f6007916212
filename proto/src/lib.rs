//! L0: wire types of the native API and the agent sessions, generated without protoc.
//!
//! Fields are only ever added; numbers are never reused. The brain does not know this crate:
//! the coordinator and the agent translate.

/// Version 1 of the protocol.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("muster.v1");
}

/// The version of the session protocol that this build speaks. An agent with another one is
/// refused with a sentence.
pub const SESSION_PROTOCOL: u32 = 1;

/// The largest message either side accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
