//! KafkaTopic: observe -> plan -> apply -> report -> when next.

mod apply;
pub mod claims;
mod controller;
mod delete;
pub mod desired;
pub mod drift;
pub mod health;
pub mod memory;
pub mod plan;
mod report;

pub use controller::{TopicError, on_error, reconcile};

#[cfg(test)]
mod convergence_tests;
