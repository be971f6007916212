//! L2: the coordinator daemon, tonic and axum around the brain.
