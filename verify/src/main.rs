//! `hack/load`.
fn main() {}
