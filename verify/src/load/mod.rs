//! The load driver: a bounded, seeded mix of operations over HTTP, and what came of it.

mod drive;
mod plan;
mod report;

pub use drive::{Outcome, drive, microseconds};
pub use plan::{Funds, Hold, Holdings, Mix, Operation, Planner};
pub use report::describe;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// The most wallets and operations that one run may be asked for.
pub const MOST_WALLETS: u32 = 100_000;
/// The most operations.
pub const MOST_OPERATIONS: u64 = 10_000_000;
/// The most workers.
pub const MOST_WORKERS: u32 = 1_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Wallets to open, 1 to [`MOST_WALLETS`].
    pub wallets: u32,
    /// Operations on them, up to [`MOST_OPERATIONS`].
    pub operations: u64,
    /// Connections that work at the same time, 1 to [`MOST_WORKERS`].
    pub workers: u32,
    /// Decides which operations a worker makes.
    pub seed: u64,
    /// Prefix of the run's wallet ids and idempotency keys: another one for each run, so that a run may be repeated on a cluster.
    pub run: String,
    /// Which operations.
    pub mix: Mix,
    /// The most operations a second, over all workers; none: as many as the service takes.
    pub rate: Option<u32>,
    /// Set to end the operations early: what is under way is finished, and the outcome counts as complete.
    pub stop: Arc<AtomicBool>,
    /// When the run ends, finished or not, from its start.
    pub deadline: Duration,
    /// Whether to print progress to standard error.
    pub progress: bool,
}

impl Options {
    /// The id of the run's `index`th wallet.
    pub fn wallet(&self, index: usize) -> String {
        format!("{}-{index}", self.run)
    }

    /// The time from one operation of a worker to its next, at least.
    fn pace(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * self.workers / rate.max(1))
    }
}
