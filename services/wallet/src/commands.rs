//! The command side: requests in, answers out once they are durable, events stored and put into the outbox in the same transaction.

pub mod answer;
mod committer;
mod plan;
mod store;

pub use committer::{CommitError, Committer, Surroundings};
pub use plan::{IdempotencyKey, Request};
