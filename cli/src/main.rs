//! L3: the one binary.

fn main() {}
