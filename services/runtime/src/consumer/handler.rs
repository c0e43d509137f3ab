//! What a service does with records: four ways, and what it may say when it cannot.

use std::{error::Error, future::Future};

use sqlx::{PgConnection, postgres::PgTransaction};

use super::{Outgoing, Record};

/// Handles a record at a time: records of different keys at once, those of one key in their order.
pub trait Handler: Send + Sync + 'static {
    /// Handles the record. It may come again after a crash or a rebalance, or if it failed; its effect must bear that.
    fn handle(&self, record: &Record) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Handles records of a partition together.
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles the records, in this order. They may come again, together or one by one, after a failure of any of them.
    fn handle(&self, records: &[Record]) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Makes rows of records, each once: the offset moves in the same transaction.
pub trait Projection: Send + Sync + 'static {
    /// Applies the records, in this order, in the transaction. They are of one partition, and none was applied before.
    ///
    /// It may be called again with the same records, or with one of them alone, when it fails or when the commit does; what it
    /// wrote is rolled back then. It must not do anything outside the transaction. Either all of the records are applied or none is.
    fn apply(
        &self,
        transaction: &mut PgTransaction<'_>,
        records: &[Record],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Removes all that it has made, in the transaction: a replay is about to begin. Nothing of it may be left, its notes of what was
    /// seen included.
    fn clear(&self, connection: &mut PgConnection) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Makes records of records, each once for readers of committed records: the offset moves in the same Kafka transaction.
pub trait Transform: Send + Sync + 'static {
    /// What is to be written for these records of one partition. It may be asked again, for the same records or one of them.
    fn transform(&self, records: &[Record]) -> impl Future<Output = Result<Vec<Outgoing>, HandlerError>> + Send;
}

/// Why a record was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Something that it depends on is away. The partition waits, and the record is tried until it works; this is no attempt.
    #[error("for now: {0}")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// This record did not work this time: it is parked, and tried again until its attempts are used up. Records of its key wait
    /// behind it, those of other keys go on.
    #[error("this time: {0}")]
    Retry(#[source] Box<dyn Error + Send + Sync>),
    /// The record cannot be read, or will never work: a dead letter, or, where there is no place for one, the partition's stop.
    #[error("for good: {0}")]
    Poison(#[source] Box<dyn Error + Send + Sync>),
}

impl HandlerError {
    /// Worth waiting for: `.map_err(HandlerError::transient)`.
    pub fn transient(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(error.into())
    }

    /// Worth another try, later: `.map_err(HandlerError::retry)`.
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    /// Not worth another try: `.map_err(HandlerError::poison)`.
    pub fn poison(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Poison(error.into())
    }
}

/// A database that is away is waited for. What it refuses, it refuses for this record, this time.
impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) { Self::transient(error) } else { Self::retry(error) }
    }
}

/// Whether a query that failed so may work later, whatever it was.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection, resources, operator intervention, system error, rolled back (serialization, deadlock), read-only standby,
            // lock not available, object in use.
            ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
                || ["25006", "55P03", "55006"].contains(&code.as_ref())
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
