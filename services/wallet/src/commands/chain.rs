//! Hashes for events: of a batch, in memory; and of events that a build from before the chain wrote, in the tables.

use std::{collections::HashMap, time::Duration};

use sqlx::{PgConnection, PgPool};
use tidegate_contracts::{
    Envelope, Event,
    wallet::{
        WalletEvent,
        chain::{self, Hash, Link},
    },
};
use tidegate_runtime::shutdown::Shutdown;

use super::{lock_of, store};
use crate::{
    chain::{Stored, stored_events},
    domain::WalletId,
    error::StoreError,
};

/// Wallets that are completed in one transaction, and so are not written meanwhile.
const WALLETS: i64 = 50;
/// Events that are read at once.
const EVENTS: i64 = 1000;
/// How long to wait when the database cannot be reached.
const PAUSE: Duration = Duration::from_secs(5);

/// An event as it is written. Its data is made once: for the hash, the table and the topic.
pub struct Written {
    /// The event.
    pub envelope: Envelope<WalletEvent>,
    /// Its data, as JSON.
    pub data: String,
    /// Its hash.
    pub hash: Hash,
}

/// The events with their hashes. `heads` holds the last hash of each wallet that has one, and then that of the last event here.
pub fn links(heads: &mut HashMap<WalletId, Hash>, events: Vec<(WalletId, Envelope<WalletEvent>)>) -> Vec<Written> {
    let linked = events.into_iter().map(|(wallet, envelope)| {
        let data = envelope.event.to_data();
        let head = heads.entry(wallet).or_insert_with(|| chain::genesis(&envelope.aggregate_id));
        *head = chain::next(head, &link(&envelope, &data));
        Written { data: data.to_string(), hash: *head, envelope }
    });
    linked.collect()
}

fn link<'a>(envelope: &'a Envelope<WalletEvent>, data: &'a serde_json::Value) -> Link<'a> {
    Link {
        wallet_id: &envelope.aggregate_id,
        version: envelope.aggregate_version,
        event_id: envelope.event_id,
        event_type: envelope.event.event_type(),
        occurred_at: envelope.timestamp.as_millisecond(),
        correlation_id: envelope.correlation_id,
        causation_id: envelope.causation_id,
        transaction_id: envelope.event.transaction_id(),
        data,
    }
}

/// Completes the chain of a wallet whose last events have no hashes. Its lock must be held; its head.
pub async fn complete(connection: &mut PgConnection, wallet: &str) -> Result<Hash, StoreError> {
    let on = "completing a hash chain";
    let (mut chained, head): (i64, Option<Vec<u8>>) =
        sqlx::query_as("SELECT chained, head FROM wallet_state WHERE wallet_id = $1")
            .bind(wallet)
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::on(on))?;
    let mut head = head.and_then(|head| Hash::try_from(head).ok()).unwrap_or_else(|| chain::genesis(wallet));
    loop {
        let events = stored_events(&mut *connection, wallet, chained, EVENTS).await?;
        let Some(last) = events.last() else { break };
        chained = last.version;
        let hashes: Vec<Hash> = events
            .iter()
            .map(|event: &Stored| {
                head = chain::next(&head, &event.link(wallet));
                head
            })
            .collect();
        sqlx::query(
            "UPDATE wallet_events AS old SET hash = new.hash FROM unnest($2::bigint[], $3::bytea[]) AS new (version, hash)
             WHERE old.wallet_id = $1 AND old.version = new.version",
        )
        .bind(wallet)
        .bind(events.iter().map(|event| event.version).collect::<Vec<_>>())
        .bind(hashes.iter().map(|hash| &hash[..]).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::on(on))?;
    }
    sqlx::query("UPDATE wallet_state SET chained = $2, head = $3 WHERE wallet_id = $1")
        .bind(wallet)
        .bind(chained)
        .bind(&head[..])
        .execute(connection)
        .await
        .map_err(StoreError::on(on))?;
    Ok(head)
}

/// Gives hashes to the events that a build from before the chain wrote, some wallets at a time, in the order of their ids, and ends
/// once it has been through all of them. A wallet that such a build writes later is completed at its next event.
pub async fn chain_old_events(pool: PgPool, shutdown: Shutdown) {
    let mut wallets = 0;
    let mut after = String::new();
    loop {
        let pause = match shutdown.or(complete_some(&pool, &after)).await {
            None => return,
            Some(Ok(completed)) => {
                let Some(last) = completed.last() else { break };
                wallets += completed.len();
                after.clone_from(last);
                Duration::ZERO
            }
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old events are given their hashes later");
                PAUSE
            }
        };
        if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
    if wallets > 0 {
        tracing::info!(wallets, "events from before the hash chain have their hashes");
    }
}

/// Completes the next wallets; which.
async fn complete_some(pool: &PgPool, after: &str) -> Result<Vec<String>, StoreError> {
    let on = "looking for events without hashes";
    let wallets: Vec<String> = sqlx::query_scalar(
        "SELECT wallet_id FROM wallet_state WHERE wallet_id > $1 AND chained <> version ORDER BY wallet_id LIMIT $2",
    )
    .bind(after)
    .bind(WALLETS)
    .fetch_all(pool)
    .await
    .map_err(StoreError::on(on))?;
    let mut locks: Vec<i64> = wallets.iter().map(|wallet| lock_of("wallet", wallet)).collect();
    locks.sort_unstable();
    let mut transaction = store::begin(pool, &locks).await?;
    for wallet in &wallets {
        complete(&mut transaction, wallet).await?;
    }
    transaction.commit().await.map_err(StoreError::on(on))?;
    Ok(wallets)
}
