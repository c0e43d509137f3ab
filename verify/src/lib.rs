//! What proves that the system keeps its promises: the invariant checkers, the readers of the real stores that feed them, and
//! the load driver. Development tooling: it may know every other crate, and none may know it.

pub mod acknowledged;
pub mod client;
pub mod environment;
pub mod facts;
pub mod invariants;
pub mod load;
pub mod stores;
