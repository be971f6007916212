//! L4: benchmarks, side by side with the real peers.
