//! Events to one row a wallet. A batch is folded in memory, so that a wallet is written once however many of its events are in it.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use tidegate_contracts::{
    Envelope, Money,
    wallet::{WalletEvent, WalletOpened},
};

use crate::error::StoreError;

/// What a batch makes of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its version.
    pub version: i64,
    /// Its balance.
    pub balance: Money,
    /// How much of it is on hold; none if no event of the batch says.
    pub held: Option<Money>,
    /// When it last changed: ms since 1970, UTC.
    pub updated_at: i64,
    /// What it began with and when (ms since 1970, UTC), if it began in this batch.
    pub opened: Option<(&'a WalletOpened, i64)>,
}

/// Folds the events of a batch, wallet by wallet in the order of their ids. The events say what balance they lead to.
pub fn fold<'a>(news: &[&'a Envelope<WalletEvent>]) -> BTreeMap<&'a str, Change<'a>> {
    let mut changes: BTreeMap<&str, Change<'_>> = BTreeMap::new();
    for envelope in news {
        let at = envelope.timestamp.as_millisecond();
        let (balance, held) = match &envelope.event {
            WalletEvent::WalletOpened(opened) => (Money::new(0, opened.currency), None),
            WalletEvent::MoneyDeposited(moved) | WalletEvent::MoneyWithdrawn(moved) => (moved.balance, None),
            WalletEvent::TransferSent(moved) | WalletEvent::TransferReceived(moved) => (moved.balance, None),
            WalletEvent::FundsHeld(hold) | WalletEvent::HoldReleased(hold) => (hold.balance, Some(hold.held)),
            WalletEvent::HoldCaptured(captured) => (captured.balance, Some(captured.held)),
        };
        let before = changes.get(envelope.aggregate_id.as_str());
        let opened = match &envelope.event {
            WalletEvent::WalletOpened(opened) => Some((opened, at)),
            _ => before.and_then(|before| before.opened),
        };
        let held = held.or_else(|| before.and_then(|before| before.held));
        let change = Change { version: envelope.aggregate_version, balance, held, updated_at: at, opened };
        changes.insert(&envelope.aggregate_id, change);
    }
    changes
}

/// Removes all rows. Readers wait for the transaction, and find none until rows are written.
pub async fn clear(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("TRUNCATE wallet_read_model")
        .execute(connection)
        .await
        .map_err(StoreError::on("emptying the read model"))?;
    Ok(())
}

/// The versions that the rows of those wallets are at.
pub async fn seen(connection: &mut PgConnection, wallets: &[&str]) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as(
            // Each by itself: see `load` of the command side.
            "SELECT wallet_id, version FROM unnest($1::text[]) AS wanted (id)
             CROSS JOIN LATERAL (SELECT wallet_id, version FROM wallet_read_model WHERE wallet_id = wanted.id LIMIT 1) AS found",
        )
        .bind(wallets)
        .fetch_all(connection)
        .await
            .map_err(StoreError::on("reading the read model's versions"))?;
    Ok(rows.into_iter().collect())
}

/// Writes the rows: those that begin, then those that were there.
pub async fn write(connection: &mut PgConnection, changes: &BTreeMap<&str, Change<'_>>) -> Result<(), StoreError> {
    let new: Vec<_> = changes.iter().filter_map(|(id, change)| Some((*id, change, change.opened?))).collect();
    if !new.is_empty() {
        sqlx::query(
            "INSERT INTO wallet_read_model (wallet_id, version, owner_id, currency, balance, held, opened_at, updated_at)
             SELECT wallet_id, version, owner_id, currency, balance, coalesce(held, 0),
               'epoch'::timestamptz + opened_at * interval '1 ms', 'epoch'::timestamptz + updated_at * interval '1 ms'
             FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bigint[])
               AS new (wallet_id, version, owner_id, currency, balance, opened_at, updated_at, held)",
        )
        .bind(new.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, change, _)| change.version).collect::<Vec<_>>())
        .bind(new.iter().map(|(.., (opened, _))| opened.owner_id.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, change, _)| change.balance.currency().code()).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, change, _)| change.balance.units()).collect::<Vec<_>>())
        .bind(new.iter().map(|(.., (_, opened_at))| *opened_at).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, change, _)| change.updated_at).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, change, _)| change.held.map(Money::units)).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::on("writing new wallets into the read model"))?;
    }
    let known: Vec<_> = changes.iter().filter(|(_, change)| change.opened.is_none()).collect();
    if !known.is_empty() {
        sqlx::query(
            "UPDATE wallet_read_model AS old
             SET version = new.version, balance = new.balance, held = coalesce(new.held, old.held),
                 updated_at = 'epoch'::timestamptz + new.updated_at * interval '1 ms'
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
               AS new (wallet_id, version, balance, updated_at, held)
             WHERE old.wallet_id = new.wallet_id",
        )
        .bind(known.iter().map(|(id, _)| **id).collect::<Vec<_>>())
        .bind(known.iter().map(|(_, change)| change.version).collect::<Vec<_>>())
        .bind(known.iter().map(|(_, change)| change.balance.units()).collect::<Vec<_>>())
        .bind(known.iter().map(|(_, change)| change.updated_at).collect::<Vec<_>>())
        .bind(known.iter().map(|(_, change)| change.held.map(Money::units)).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(StoreError::on("writing the read model"))?;
    }
    Ok(())
}
