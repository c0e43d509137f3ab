//! Reading topics: a member of a consumer group, a task per partition, and what becomes of each record: handled, parked for another try,
//! or a dead letter, exactly one of the three.
//!
//! A [`Handler`] is given records one at a time, those of different keys at once; a [`BatchHandler`] several together; a [`Projection`]
//! several and a database transaction, in which the offset moves too; a [`Transform`] makes records of records, in a Kafka transaction
//! with the offset. What fails for a while is parked in a retry topic of the group's own, and its key with it, in order.

mod book;
mod config;
mod context;
pub mod generation;
mod handler;
mod health;
mod member;
mod metrics;
mod offsets;
mod partition;
mod policy;
mod record;
mod retries;
mod rows;
mod transactor;
mod words;
mod work;

pub use config::{ConsumerConfig, GroupProtocol};
pub use handler::{BatchHandler, Handler, HandlerError, Projection, Transform};
pub use health::MemberHealth;
pub use member::ConsumerError;
pub use metrics::ConsumerMetrics;
pub use record::{Outgoing, Record};
pub use work::{Consumer, Each, Records, Rows, Together};
