//! How a group member is: whether it has joined, whether its loop turns.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The loop turns several times a second, and stands still while a rebalance waits for batches under way, which is limited.
const STUCK: Duration = Duration::from_secs(45);

/// How a group member is. A broker that is away changes neither answer.
#[derive(Debug)]
pub struct MemberHealth {
    joined: AtomicBool,
    polled: Mutex<Instant>,
}

impl Default for MemberHealth {
    fn default() -> Self {
        Self { joined: AtomicBool::new(false), polled: Mutex::new(Instant::now()) }
    }
}

impl MemberHealth {
    /// Whether the group has taken it in, with partitions or without.
    pub fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// Whether its loop has turned lately.
    pub fn is_alive(&self) -> bool {
        self.last_poll_age() < STUCK
    }

    /// How long ago its loop turned.
    pub fn last_poll_age(&self) -> Duration {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(super) fn set_joined(&self, joined: bool) {
        if self.joined.swap(joined, Ordering::Relaxed) != joined {
            tracing::info!(joined, "group membership");
        }
    }

    pub(super) fn polled(&self) {
        *self.polled.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}
