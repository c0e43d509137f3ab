//! The outbox: a commit and its events are one transaction; a relay publishes each committed event once, in order per key.
//!
//! [`append`] writes rows in the caller's transaction. The relay reads them in the order of (transaction id, row id), below the oldest
//! transaction still running, so that a late commit is never skipped. Order per key therefore asks one thing of writers: whoever
//! writes an aggregate later must have the greater transaction id, that is, **take the aggregate's lock before the transaction
//! writes anything** (an advisory lock does not assign a transaction id; a row lock does).

mod append;
mod lease;
mod owner;
mod pace;
mod position;
mod progress;
mod publisher;
mod relay;
mod rows;
mod stats;
mod wake;

pub use append::{AppendError, CHANNEL, OutboxEvent, SHARDS, append, shard_of};
pub use pace::Pace;
pub use relay::{Relay, RelayConfig, RelayError};
pub use stats::{OutboxStats, RelayHandle};
