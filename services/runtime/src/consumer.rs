//! Reading topics: a member of a consumer group, a task per partition, and projections that keep their offset with their rows.
//!
//! A [`Projection`] is given records in batches and a database transaction. The runtime moves the partition's next offset in that same
//! transaction, compare-and-set: whoever comes with records that were applied already, or after the partition has gone to somebody
//! else, changes nothing. Kafka's committed offset follows, for people and dashboards.

mod config;
mod context;
mod health;
mod member;
mod metrics;
mod offsets;
mod partition;
mod projector;
mod record;

pub use config::{ConsumerConfig, GroupProtocol};
pub use health::MemberHealth;
pub use member::ConsumerError;
pub use metrics::ConsumerMetrics;
pub use projector::{HandlerError, Projection, Projector};
pub use record::Record;
