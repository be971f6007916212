//! Development tasks: layer lint, verify.

fn main() {}
