//! L4: what the benchmarks share: samples, the machine's description, a running Muster.
//!
//! Each benchmark runs Muster and its real peer by turns on the same machine and reports medians and their
//! ratio. `cargo bench -p muster-benches --bench NAME` measures; `cargo test -p muster-benches --benches` runs
//! each once, without a peer, so that they stay alive.

mod cluster;
mod etcd;
mod machine;
mod peer;
mod samples;

pub use cluster::{Cluster, timed};
pub use etcd::Etcd;
pub use machine::{describe, version};
pub use peer::Peer;
pub use samples::{Samples, compare, is_measurement, rounds};
