//! What proves that the system keeps its promises: the invariant checkers, the readers of the real stores that feed them, the load
//! driver, and the faults that are injected under load. Development tooling: it may know every other crate, and none may know it.

pub mod acknowledged;
pub mod chain;
pub mod client;
pub mod environment;
pub mod facts;
pub mod faults;
pub mod invariants;
pub mod load;
mod random;
pub mod resources;
pub mod stores;
pub mod tenant;
pub mod verdict;
