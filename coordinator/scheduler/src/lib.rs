//! L1: gang placement as a pure function.
