//! Projections: records to rows, with the offset in the same transaction.

use std::{error::Error, future::Future, sync::Arc};

use sqlx::{PgPool, postgres::PgTransaction};
use tidegate_settings::binding::KafkaConnection;

use super::{ConsumerConfig, ConsumerError, ConsumerMetrics, MemberHealth, Record, member, partition};
use crate::shutdown::Shutdown;

/// What makes rows of records.
pub trait Projection: Send + Sync + 'static {
    /// Applies the records, in this order, in the transaction. They are of one partition, and none was applied before.
    ///
    /// It may be called again with the same records when it fails or when the commit does; what it wrote is rolled back then. It
    /// must not do anything outside the transaction. Either all of the records are applied or none is.
    fn apply(
        &self,
        transaction: &mut PgTransaction<'_>,
        records: &[Record],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Why records were not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Something that it depends on is away: tried again, after a while, until it works. The partition waits.
    #[error("for now: {0}")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// The record cannot be read, or will never work. The partition stops, loudly; nothing is skipped.
    #[error("for good: {0}")]
    Poison(#[source] Box<dyn Error + Send + Sync>),
}

impl HandlerError {
    /// Worth another try: `.map_err(HandlerError::transient)`.
    pub fn transient(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transient(error.into())
    }

    /// Not worth another try: `.map_err(HandlerError::poison)`.
    pub fn poison(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Poison(error.into())
    }
}

/// Queries fail for now, unless the database says that what was asked can never work.
impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        if partition::is_transient(&error) { Self::transient(error) } else { Self::poison(error) }
    }
}

/// A group member that feeds a projection.
pub struct Projector<P> {
    /// Which topics, as which group, in what batches.
    pub config: ConsumerConfig,
    /// How to reach Kafka.
    pub kafka: KafkaConnection,
    /// The projection's database.
    pub pool: PgPool,
    /// The projection.
    pub projection: P,
    /// What it counts.
    pub metrics: ConsumerMetrics,
    /// How it is.
    pub health: Arc<MemberHealth>,
}

impl<P: Projection> Projector<P> {
    /// Runs until the process stops; then finishes what it has begun, commits, and leaves the group.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), ConsumerError> {
        member::run(self, shutdown).await
    }
}
