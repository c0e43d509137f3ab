//! What is made of the topic: each projection applies a batch of events with a few statements, in the transaction that also moves the
//! offsets (the runtime's part).

mod ledger;
mod read_model;
mod stream;
#[cfg(test)]
mod tests;

use sqlx::PgConnection;
use tidegate_contracts::{Envelope, wallet::WalletEvent};

pub use stream::Gap;

use crate::error::StoreError;

/// Why a batch could not be applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// An event is missing before one of these.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The tables refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Books the events in the ledger.
pub async fn apply_to_ledger(
    connection: &mut PgConnection,
    events: &[Envelope<WalletEvent>],
) -> Result<(), ProjectionError> {
    let seen = ledger::seen(connection, &wallets(events)).await?;
    let news = stream::news(&seen, events)?;
    if !news.is_empty() {
        let bookings: Vec<_> = news.iter().filter_map(|event| ledger::booking(event)).collect();
        ledger::book(connection, &bookings).await?;
        ledger::mark(connection, &stream::watermarks(&news)).await?;
    }
    Ok(())
}

/// Carries the events into the read model.
pub async fn apply_to_read_model(
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
