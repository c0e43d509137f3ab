//! What proves that the system keeps its promises: the invariant checkers, the readers of the real stores that feed them, and
//! the load driver. Development tooling: it may know every other crate, and none may know it.

pub mod facts;
pub mod invariants;
