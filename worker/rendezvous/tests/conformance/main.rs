//! The store against raw sockets and against real torch.
//!
//! The raw tests pin every edge of the protocol. The torch test runs real clients, the same ones against this
//! store and against torch's own server. It needs environments with torch, which `torch_environment.py` builds
//! once; on a machine that cannot, it says so on stderr and is skipped.
//!
//! - `MUSTER_TEST_TORCH`: the versions, with commas between; one that is older than 2.2 must be refused.
//! - `MUSTER_TEST_CACHE`: the folder of the environments; `target/test-envs` otherwise.

mod client;
mod opening;
mod operations;
mod torch;
