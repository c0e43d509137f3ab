//! KafkaTopic: observe -> plan -> apply -> report -> when next.

mod apply;
pub mod claims;
mod controller;
mod delete;
pub mod desired;
pub mod drift;
mod error;
mod growing;
pub mod growth;
pub mod health;
pub mod memory;
pub mod plan;
mod record;
mod report;

pub use controller::{on_error, reconcile};
pub use error::TopicError;

#[cfg(test)]
mod convergence_tests;
#[cfg(test)]
mod scenario_tests;
