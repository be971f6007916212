//! L2: write-ahead log, snapshots and applied records on disk.
