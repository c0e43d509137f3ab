//! The command side: requests in, answers out once they are durable, events stored and put into the outbox in the same transaction.

mod answer;
mod chain;
mod committer;
mod forget;
mod metrics;
#[cfg(test)]
mod model_tests;
mod plan;
mod store;

pub use answer::Answer;
pub use chain::chain_old_events;
pub use committer::{CommitError, Committer, Surroundings};
pub use forget::forget_old_answers;
pub use metrics::CommitterMetrics;
pub use plan::{IdempotencyKey, Mode, Request, Work};

use sha2::{Digest, Sha256};

/// The advisory lock of a name. A collision makes two strangers wait for each other, no more.
fn lock_of(kind: &str, name: &str) -> i64 {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}
