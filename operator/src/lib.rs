//! The Tidegate operator: KafkaTopic and EventPipeline resources to topics and running processors.
//!
//! The binary in `main.rs` wires this together; it is a library so that its parts can be tested.

pub mod alerts;
pub mod backoff;
pub mod batch;
pub mod busy;
pub mod conditions;
pub mod config;
pub mod context;
pub mod dead_letters;
pub mod events;
pub mod finalizer;
pub mod gateway;
pub mod http;
pub mod lag;
pub mod lease;
pub mod metrics;
pub mod neighbours;
pub mod pipeline;
pub mod scaling;
pub mod term;
pub mod topic;

#[cfg(test)]
mod testing;
