//! The four ways in which records are worked on, as the loop of a partition sees them, and the consumer that goes one of them.

use std::{future::ready, sync::Arc};

use sqlx::PgPool;

use super::{
    BatchHandler, ConsumerConfig, ConsumerError, ConsumerMetrics, Handler, HandlerError, MemberHealth, Projection,
    Record, Transform,
    book::Commit,
    member,
    partition::{Complete, Consuming, Draining, Left, Partition, batches, each},
    rows,
    transactor::WriteError,
};
use crate::{kafka::Brokers, shutdown::Shutdown};

/// A record at a time, by a [`Handler`].
pub struct Each<H>(pub H);

/// Records together, by a [`BatchHandler`].
pub struct Together<B>(pub B);

/// Rows, made by a [`Projection`], and the offset in the same transaction.
pub struct Rows<P> {
    /// The projection's database.
    pub pool: PgPool,
    /// The projection.
    pub projection: P,
}

/// Records, made by a [`Transform`], and the offset in the same Kafka transaction.
pub struct Records<T>(pub T);

/// A group member that works on records: [`Each`] of them, [`Together`], into [`Rows`] or into [`Records`].
pub struct Consumer<W> {
    /// Which topics, as which group, and what becomes of records that fail.
    pub config: ConsumerConfig,
    /// How to reach Kafka.
    pub brokers: Brokers,
    /// What it does with them.
    pub work: W,
    /// What it counts.
    pub metrics: ConsumerMetrics,
    /// How it is.
    pub health: Arc<MemberHealth>,
}

macro_rules! runs {
    ($work:ident, $bound:ident) => {
        impl<H: $bound> Consumer<$work<H>> {
            /// Runs until the process stops; then finishes what it has begun, commits, and leaves the group.
            pub async fn run(self, shutdown: Shutdown) -> Result<(), ConsumerError> {
                member::run(self, shutdown).await
            }
        }
    };
}

runs!(Each, Handler);
runs!(Together, BatchHandler);
runs!(Rows, Projection);
runs!(Records, Transform);

/// How far a partition is, as it is kept.
pub(super) enum Kept {
    /// The group's offset in Kafka decides.
    InKafka,
    /// It is kept elsewhere, and nothing ever was.
    Nowhere,
    /// It is kept elsewhere.
    At { offset: i64, state: String },
    /// It is kept elsewhere, and the process is of an earlier generation.
    Superseded,
}

/// How applying records ended.
pub(super) enum Applied {
    Yes,
    /// Nothing was applied, or nobody knows: the partition is not where it was thought to be.
    Elsewhere,
}

/// What a partition's task does with records.
pub(super) trait Work: Sized + Send + Sync + 'static {
    /// Whether it writes in Kafka transactions even if nothing fails.
    const TRANSACTS: bool = false;

    /// How far the partition is: in Kafka, unless the work keeps it with its effects.
    fn kept(&self, _: &Partition<'_, Self>) -> impl Future<Output = Result<Kept, HandlerError>> + Send {
        ready(Ok(Kept::InKafka))
    }

    /// Keeps how far it is, records apart. False if somebody else has moved it.
    fn keep(
        &self,
        partition: &Partition<'_, Self>,
        _: Option<&Commit>,
        to: &Commit,
    ) -> impl Future<Output = Result<bool, HandlerError>> + Send {
        partition.reached(to);
        ready(Ok(true))
    }

    /// Works until the partition is to be given up.
    fn consume(partition: &Partition<'_, Self>, consuming: Consuming) -> impl Future<Output = Left> + Send;

    /// Finishes what is under way.
    fn finish(partition: &Partition<'_, Self>, draining: Draining) -> impl Future<Output = Complete> + Send;
}

/// Work on records together.
pub(super) trait Batches: Work {
    /// Applies the records and moves the partition, both or neither as far as it can.
    fn apply(
        &self,
        partition: &Partition<'_, Self>,
        records: &[Record],
        moved: (&Commit, &Commit),
    ) -> impl Future<Output = Result<Applied, HandlerError>> + Send;
}

impl<H: Handler> Work for Each<H> {
    async fn consume(partition: &Partition<'_, Self>, consuming: Consuming) -> Left {
        each::consume(partition, &partition.shared.work.0, consuming).await
    }

    async fn finish(partition: &Partition<'_, Self>, draining: Draining) -> Complete {
        each::finish(partition, draining).await
    }
}

impl<B: BatchHandler> Work for Together<B> {
    async fn consume(partition: &Partition<'_, Self>, consuming: Consuming) -> Left {
        batches::consume(partition, consuming).await
    }

    async fn finish(partition: &Partition<'_, Self>, draining: Draining) -> Complete {
        batches::finish(partition, draining).await
    }
}

impl<B: BatchHandler> Batches for Together<B> {
    async fn apply(
        &self,
        partition: &Partition<'_, Self>,
        records: &[Record],
        (_, to): (&Commit, &Commit),
    ) -> Result<Applied, HandlerError> {
        self.0.handle(records).await?;
        partition.reached(to);
        Ok(Applied::Yes)
    }
}

impl<P: Projection> Work for Rows<P> {
    async fn kept(&self, partition: &Partition<'_, Self>) -> Result<Kept, HandlerError> {
        Ok(rows::load(&self.pool, &partition.row()).await?)
    }

    async fn keep(
        &self,
        partition: &Partition<'_, Self>,
        from: Option<&Commit>,
        to: &Commit,
    ) -> Result<bool, HandlerError> {
        let mut transaction = self.pool.begin().await?;
        if !rows::advance(&mut transaction, &partition.row(), (from, to)).await? {
            return Ok(false);
        }
        transaction.commit().await?;
        partition.reached(to);
        Ok(true)
    }

    async fn consume(partition: &Partition<'_, Self>, consuming: Consuming) -> Left {
        batches::consume(partition, consuming).await
    }

    async fn finish(partition: &Partition<'_, Self>, draining: Draining) -> Complete {
        batches::finish(partition, draining).await
    }
}

impl<P: Projection> Batches for Rows<P> {
    async fn apply(
        &self,
        partition: &Partition<'_, Self>,
        records: &[Record],
        (from, to): (&Commit, &Commit),
    ) -> Result<Applied, HandlerError> {
        let mut transaction = self.pool.begin_with(rows::BEGIN).await?;
        if !rows::advance(&mut transaction, &partition.row(), (Some(from), to)).await? {
            return Ok(Applied::Elsewhere);
        }
        self.projection.apply(&mut transaction, records).await?;
        crate::crash_point!("consumer::projected");
        transaction.commit().await?;
        partition.reached(to);
        Ok(Applied::Yes)
    }
}

impl<T: Transform> Work for Records<T> {
    const TRANSACTS: bool = true;

    async fn consume(partition: &Partition<'_, Self>, consuming: Consuming) -> Left {
        batches::consume(partition, consuming).await
    }

    async fn finish(partition: &Partition<'_, Self>, draining: Draining) -> Complete {
        batches::finish(partition, draining).await
    }
}

impl<T: Transform> Batches for Records<T> {
    async fn apply(
        &self,
        partition: &Partition<'_, Self>,
        records: &[Record],
        (_, to): (&Commit, &Commit),
    ) -> Result<Applied, HandlerError> {
        let records = self.0.transform(records).await?;
        let answered = partition.transact(records, to.clone()).await;
        match answered.await {
            Ok(Ok(())) => {
                partition.told(to);
                partition.transacted();
                Ok(Applied::Yes)
            }
            Ok(Err(error @ WriteError::TooLarge { .. })) => {
                partition.transacted();
                Err(HandlerError::poison(error))
            }
            Ok(Err(error @ (WriteError::Again { .. } | WriteError::Lost))) => {
                partition.transacted();
                Err(HandlerError::transient(error))
            }
            Ok(Err(WriteError::Unknown(_))) | Err(_) => Ok(Applied::Elsewhere),
        }
    }
}
