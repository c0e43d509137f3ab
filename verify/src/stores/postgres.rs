//! The wallet's tables, all in one snapshot.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row, postgres::PgRow};
use tidegate_contracts::wallet::chain::{self, Hash};

use super::{ReadError, Streams, wallet};
use crate::facts::{AccountKind, Balance, Entry, Event, Facts, Group, Link, Seen};

/// How far the parts have come: all equal once nothing is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Events that are committed.
    pub committed: i64,
    /// Events that the read model has applied.
    pub read_model: i64,
    /// Events that the ledger has applied.
    pub ledger: i64,
}

impl Progress {
    /// Whether both projections have applied every committed event.
    pub fn is_settled(self) -> bool {
        self.committed == self.read_model && self.committed == self.ledger
    }
}

/// Connects to the database.
pub async fn connect(url: &str) -> Result<PgConnection, ReadError> {
    let connecting = tokio::time::timeout(Duration::from_secs(15), PgConnection::connect(url));
    let connected = connecting.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut));
    connected.map_err(failed("connecting to the wallet's database"))
}

/// How far the projections have come.
pub async fn progress(connection: &mut PgConnection) -> Result<Progress, ReadError> {
    let doing = "asking how far the projections are";
    let row = sqlx::query(
        "SELECT (SELECT coalesce(sum(version), 0)::bigint FROM wallet_state) AS committed,
                (SELECT coalesce(sum(version), 0)::bigint FROM wallet_read_model) AS read_model,
                (SELECT coalesce(sum(version), 0)::bigint FROM ledger_watermarks) AS ledger",
    )
    .fetch_one(connection)
    .await
    .map_err(failed(doing))?;
    let column = |name: &str| row.try_get(name).map_err(failed(doing));
    Ok(Progress { committed: column("committed")?, read_model: column("read_model")?, ledger: column("ledger")? })
}

/// Everything that the tables say, as of one moment. What lies in Kafka is not among it.
pub async fn facts(connection: &mut PgConnection, streams: &Streams) -> Result<Facts, ReadError> {
    let mut snapshot = connection.begin().await.map_err(failed("beginning a snapshot"))?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *snapshot)
        .await
        .map_err(failed("beginning a snapshot"))?;
    let facts = Facts {
        committed: committed(&mut snapshot).await?,
        ledger: rows(&mut snapshot, "ledger_entries", LEDGER, entry).await?,
        ledger_seen: rows(&mut snapshot, "ledger_watermarks", WATERMARKS, seen).await?,
        read_model: rows(&mut snapshot, "wallet_read_model", READ_MODEL, balance).await?,
        command_state: rows(&mut snapshot, "wallet_state", STATE, balance).await?,
        groups: groups(&mut snapshot, streams).await?,
        chain: chain(&mut snapshot).await?,
        heads: rows(&mut snapshot, "wallet_state", HEADS, |row| Ok((row.try_get("wallet_id")?, row.try_get("head")?)))
            .await?,
        ..Facts::default()
    };
    snapshot.rollback().await.map_err(failed("ending a snapshot"))?;
    Ok(facts)
}

const LEDGER: &str =
    "SELECT event_id, entry, transaction_id::text AS transaction, account, account_kind, currency, amount
     FROM ledger_entries";
const WATERMARKS: &str = "SELECT wallet_id, version FROM ledger_watermarks";
const READ_MODEL: &str = "SELECT wallet_id, version, currency, balance, held FROM wallet_read_model";
const STATE: &str = "SELECT wallet_id, version, currency, balance, held FROM wallet_state";

const HEADS: &str = "SELECT wallet_id, head FROM wallet_state WHERE head IS NOT NULL";
const CHAIN: &str =
    "SELECT wallet_id, version, event_id, event_type, (extract(epoch FROM occurred_at) * 1000)::bigint AS at,
       correlation_id, causation_id, transaction_id, data, hash
     FROM wallet_events ORDER BY wallet_id, version";

async fn rows<T>(
    connection: &mut PgConnection,
    table: &'static str,
    query: &'static str,
    mut read: impl FnMut(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, ReadError> {
    let rows = sqlx::query(query).fetch_all(connection).await.map_err(failed(table))?;
    rows.iter().map(|row| read(row).map_err(|error| ReadError::Row { table, what: error.to_string() })).collect()
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    let kind = match row.try_get("account_kind")? {
        "Wallet" => AccountKind::Wallet,
        "External" => AccountKind::External,
        "Transit" => AccountKind::Transit,
        other => return Err(sqlx::Error::Decode(format!("no account is of kind {other}").into())),
    };
    Ok(Entry {
        event: row.try_get("event_id")?,
        order: row.try_get("entry")?,
        transaction: row.try_get("transaction")?,
        account: row.try_get("account")?,
        kind,
        currency: row.try_get("currency")?,
        amount: row.try_get("amount")?,
    })
}

fn seen(row: &PgRow) -> Result<Seen, sqlx::Error> {
    Ok(Seen { wallet: row.try_get("wallet_id")?, version: row.try_get("version")? })
}

fn balance(row: &PgRow) -> Result<Balance, sqlx::Error> {
    Ok(Balance {
        wallet: row.try_get("wallet_id")?,
        version: row.try_get("version")?,
        currency: row.try_get("currency")?,
        amount: row.try_get("balance")?,
        held: row.try_get("held")?,
    })
}

/// How far each projection has come, by its own word: Kafka's offsets only follow it.
async fn groups(connection: &mut PgConnection, streams: &Streams) -> Result<Vec<Group>, ReadError> {
    let table = "tidegate.projection_offsets";
    let mut groups = streams.groups().map(|(name, projection)| Group {
        name: name.into(),
        projection,
        next: BTreeMap::new(),
        parked: vec![],
        trimmed: BTreeMap::new(),
        unfinished: BTreeMap::new(),
        dead: vec![],
    });
    let rows =
        sqlx::query("SELECT consumer_group, partition, next_offset FROM tidegate.projection_offsets WHERE topic = $1")
            .bind(&streams.topic)
            .fetch_all(connection)
            .await
            .map_err(failed("reading how far the projections have come"))?;
    for row in rows {
        let read = || -> Result<(String, i32, i64), sqlx::Error> {
            Ok((row.try_get("consumer_group")?, row.try_get("partition")?, row.try_get("next_offset")?))
        };
        let (name, partition, next) = read().map_err(|error| ReadError::Row { table, what: error.to_string() })?;
        if let Some(group) = groups.iter_mut().find(|group| group.name == name) {
            group.next.insert(partition, next);
        }
    }
    Ok(groups.into())
}

/// Each event with the hash that follows from it and from the one that is stored before it, so that a broken link is found where it
/// is and not in all that follow.
async fn chain(connection: &mut PgConnection) -> Result<Vec<Link>, ReadError> {
    let mut before: Option<(String, Option<Hash>)> = None;
    let found = rows(connection, "wallet_events", CHAIN, |row| {
        let data: Value = row.try_get("data")?;
        let link = chain::Link {
            wallet_id: row.try_get("wallet_id")?,
            version: row.try_get("version")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("event_type")?,
            occurred_at: row.try_get("at")?,
            correlation_id: row.try_get("correlation_id")?,
            causation_id: row.try_get("causation_id")?,
            transaction_id: row.try_get("transaction_id")?,
            data: &data,
        };
        let previous = before.take().filter(|(wallet, _)| wallet == link.wallet_id).and_then(|(_, hash)| hash);
        let computed = chain::next(&previous.unwrap_or_else(|| chain::genesis(link.wallet_id)), &link);
        let stored: Option<Vec<u8>> = row.try_get("hash")?;
        let hash = stored.as_deref().and_then(|hash| hash.try_into().ok());
        before = Some((link.wallet_id.into(), hash));
        Ok(Link { wallet: link.wallet_id.into(), version: link.version, stored, computed: computed.into() })
    });
    found.await
}

async fn committed(connection: &mut PgConnection) -> Result<Vec<Event>, ReadError> {
    let table = "wallet_events";
    let rows = sqlx::query("SELECT wallet_id, version, event_id, event_type, data FROM wallet_events")
        .fetch_all(connection)
        .await
        .map_err(failed("reading the event store"))?;
    rows.iter()
        .map(|row| {
            let read = || -> Result<_, sqlx::Error> {
                let told: wallet::Told<'_> = wallet::Told {
                    id: row.try_get("event_id")?,
                    wallet: row.try_get("wallet_id")?,
                    version: row.try_get("version")?,
                    kind: row.try_get("event_type")?,
                    data: &row.try_get("data")?,
                };
                Ok(wallet::event(&told))
            };
            match read() {
                Ok(Ok(event)) => Ok(event),
                Ok(Err(what)) => Err(ReadError::Row { table, what }),
                Err(error) => Err(ReadError::Row { table, what: error.to_string() }),
            }
        })
        .collect()
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> ReadError {
    move |source| ReadError::Database { doing, source }
}
