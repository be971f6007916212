//! L1: a sans-io Raft node that hides the raft crate.
