//! The `veilsum` command line.
fn main() {}
