//! What is made of the topic: each projection applies a batch of events with a few statements, in the transaction that also moves the
//! offsets (the runtime's part).

mod ledger;
mod read_model;
mod rebuild;
mod stream;
#[cfg(test)]
mod tests;

use sqlx::{PgConnection, postgres::PgTransaction};
use tidegate_contracts::{Envelope, Unreadable, wallet::WalletEvent};
use tidegate_runtime::consumer::{HandlerError, Projection, Record};

pub use rebuild::{Rebuild, catch_up};
pub use stream::Gap;

use crate::error::{Again, StoreError};

/// The double-entry ledger.
pub struct Ledger;

impl Projection for Ledger {
    async fn apply(&self, transaction: &mut PgTransaction<'_>, records: &[Record]) -> Result<(), HandlerError> {
        Ok(apply_to_ledger(transaction, &events(records)?).await?)
    }

    async fn clear(&self, connection: &mut PgConnection) -> Result<(), HandlerError> {
        Ok(ledger::clear(connection).await.map_err(ProjectionError::from)?)
    }
}

/// One row a wallet.
pub struct ReadModel;

impl Projection for ReadModel {
    async fn apply(&self, transaction: &mut PgTransaction<'_>, records: &[Record]) -> Result<(), HandlerError> {
        Ok(apply_to_read_model(transaction, &events(records)?).await?)
    }

    async fn clear(&self, connection: &mut PgConnection) -> Result<(), HandlerError> {
        Ok(read_model::clear(connection).await.map_err(ProjectionError::from)?)
    }
}

fn events(records: &[Record]) -> Result<Vec<Envelope<WalletEvent>>, ProjectionError> {
    let read = |record: &Record| {
        let envelope = Envelope::<WalletEvent>::from_bytes(record.value.as_deref().unwrap_or_default());
        envelope.map_err(|source| ProjectionError::Unreadable { offset: record.offset, source })
    };
    records.iter().map(read).collect()
}

/// Why a batch could not be applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// An event is missing before one of these.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The tables refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is no event of a wallet.
    #[error("the record at offset {offset} cannot be read: {source}")]
    Unreadable {
        /// Its place in the partition.
        offset: i64,
        /// What is wrong with it.
        source: Unreadable,
    },
}

impl From<ProjectionError> for HandlerError {
    fn from(error: ProjectionError) -> Self {
        match &error {
            // What is missing may come; nothing behind it is applied before.
            ProjectionError::Gap(_) => Self::retry(error),
            ProjectionError::Store(store) if store.again() != Again::Never => Self::transient(error),
            // The events can be read; the tables refused them this time.
            ProjectionError::Store(_) => Self::retry(error),
            ProjectionError::Unreadable { .. } => Self::poison(error),
        }
    }
}

/// What the ledger adds to which account for an event: the wallet's line and the counter-account's.
#[cfg(test)]
pub fn booked(event: &Envelope<WalletEvent>) -> Option<[(String, i64); 2]> {
    let booking = ledger::booking(event)?;
    let counter = booking.counter.account(booking.balance.currency().code());
    Some([(event.aggregate_id.clone(), booking.amount), (counter, -booking.amount)])
}

/// Books the events in the ledger.
async fn apply_to_ledger(
    connection: &mut PgConnection,
    events: &[Envelope<WalletEvent>],
) -> Result<(), ProjectionError> {
    let seen = ledger::seen(connection, &wallets(events)).await?;
    let news = stream::news(&seen, events)?;
    if !news.is_empty() {
        let bookings: Vec<_> = news.iter().filter_map(|event| ledger::booking(event)).collect();
        ledger::book(connection, &bookings, &stream::watermarks(&news)).await?;
    }
    Ok(())
}

/// Carries the events into the read model.
async fn apply_to_read_model(
    connection: &mut PgConnection,
    events: &[Envelope<WalletEvent>],
) -> Result<(), ProjectionError> {
    let seen = read_model::seen(connection, &wallets(events)).await?;
    let news = stream::news(&seen, events)?;
    read_model::write(connection, &read_model::fold(&news)).await?;
    Ok(())
}

fn wallets(events: &[Envelope<WalletEvent>]) -> Vec<&str> {
    let mut wallets: Vec<_> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
    wallets.sort_unstable();
    wallets.dedup();
    wallets
}
