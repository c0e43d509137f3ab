//! The command side: requests in, answers out once they are durable, events stored and put into the outbox in the same transaction.

mod answer;
mod committer;
mod forget;
mod metrics;
mod plan;
mod store;

pub use answer::Answer;
pub use committer::{CommitError, Committer, Surroundings};
pub use forget::forget_old_answers;
pub use metrics::CommitterMetrics;
pub use plan::{IdempotencyKey, Request};
