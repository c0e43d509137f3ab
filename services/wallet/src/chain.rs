//! Whether the event store is what was written: reads events as they are stored, and follows their hash chain.

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use tidegate_contracts::wallet::chain::{self, Hash, Link};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::StoreError;

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the wallet's stream.
    pub version: i64,
    event_id: Uuid,
    event_type: String,
    occurred_at: i64,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    transaction_id: Option<Uuid>,
    data: Value,
    hash: Option<Vec<u8>>,
}

impl Stored {
    /// The event as the chain sees it.
    pub fn link<'a>(&'a self, wallet_id: &'a str) -> Link<'a> {
        Link {
            wallet_id,
            version: self.version,
            event_id: self.event_id,
            event_type: &self.event_type,
            occurred_at: self.occurred_at,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            transaction_id: self.transaction_id,
            data: &self.data,
        }
    }

    /// The event as it would be stored.
    #[cfg(test)]
    pub fn of(envelope: &tidegate_contracts::Envelope<tidegate_contracts::wallet::WalletEvent>, hash: &Hash) -> Self {
        use tidegate_contracts::Event;
        Self {
            version: envelope.aggregate_version,
            event_id: envelope.event_id,
            event_type: envelope.event.event_type().to_owned(),
            occurred_at: envelope.timestamp.as_millisecond(),
            correlation_id: envelope.correlation_id,
            causation_id: envelope.causation_id,
            transaction_id: envelope.event.transaction_id(),
            data: envelope.event.to_data(),
            hash: Some(hash.to_vec()),
        }
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get("version")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("event_type")?,
            occurred_at: row.try_get("occurred_at")?,
            correlation_id: row.try_get("correlation_id")?,
            causation_id: row.try_get("causation_id")?,
            transaction_id: row.try_get("transaction_id")?,
            data: row.try_get("data")?,
            hash: row.try_get("hash")?,
        })
    }
}

/// The columns of an event `e`, as [`Stored`] reads them.
macro_rules! columns {
    () => {
        "e.version, e.event_id, e.event_type, (extract(epoch FROM e.occurred_at) * 1000)::bigint AS occurred_at,
         e.correlation_id, e.causation_id, e.transaction_id, e.data, e.hash"
    };
}

/// At most `limit` events of the wallet behind version `after`.
pub async fn stored_events(
    connection: &mut PgConnection,
    wallet: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    let on = "reading stored events";
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM wallet_events AS e WHERE wallet_id = $1 AND version > $2 ORDER BY version LIMIT $3"
    ))
    .bind(wallet)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(StoreError::on(on))?;
    rows.iter().map(|row| Stored::read(row).map_err(StoreError::on(on))).collect()
}

/// What the chain of a wallet says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"walletId": "alice-eur", "length": 3,
    "head": "6f1ed002ab5595859014ebf0951522d9b2b3c5e2d7f6a8b0c1d2e3f405162738", "unchained": 0, "intact": true}))]
pub struct ChainView {
    /// The wallet.
    pub wallet_id: String,
    /// The events that the wallet's state says there are.
    pub length: i64,
    /// The hash of the last of them, in hex; null where none has one yet.
    pub head: Option<String>,
    /// The last of them, which a build from before the chain wrote and which have no hashes yet.
    pub unchained: i64,
    /// Whether every event is there and is what was written.
    pub intact: bool,
    /// Where the chain breaks, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_broken: Option<Break>,
}

/// Where a chain breaks. What lies behind it is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Break {
    /// The version that is not what it was.
    pub version: i64,
    /// In what way.
    pub reason: Reason,
}

/// In what way a version is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Reason {
    /// The event, or its hash, was changed, or the one before it was and its hash with it.
    Altered,
    /// The event is not there.
    Missing,
    /// There are more events than the wallet's state knows.
    Unknown,
    /// The event is as it says, and the wallet's state says another hash.
    HeadDiffers,
}

/// Follows the chain of one wallet, event by event.
pub struct Follower<'a> {
    wallet: &'a str,
    last: i64,
    hash: Hash,
    broken: Option<Break>,
}

/// What the wallet's state says of its chain.
#[derive(Clone, Debug)]
pub struct Head {
    /// The wallet's version.
    pub version: i64,
    /// The version up to which events have hashes.
    pub chained: i64,
    /// The hash of that event.
    pub hash: Option<Vec<u8>>,
}

impl<'a> Follower<'a> {
    /// At the beginning of the wallet's chain.
    pub fn new(wallet: &'a str) -> Self {
        Self { wallet, last: 0, hash: chain::genesis(wallet), broken: None }
    }

    /// The next event, in the order of versions.
    pub fn follow(&mut self, event: &Stored, head: &Head) {
        if self.broken.is_some() {
            return;
        }
        let expected = self.last + 1;
        if event.version != expected {
            self.broken = Some(Break { version: expected, reason: Reason::Missing });
        } else if event.version > head.version {
            self.broken = Some(Break { version: expected, reason: Reason::Unknown });
        } else if event.version <= head.chained {
            self.hash = chain::next(&self.hash, &event.link(self.wallet));
            if event.hash.as_deref() != Some(&self.hash[..]) {
                self.broken = Some(Break { version: expected, reason: Reason::Altered });
            } else if event.version == head.chained && head.hash.as_deref() != Some(&self.hash[..]) {
                self.broken = Some(Break { version: expected, reason: Reason::HeadDiffers });
            }
        }
        self.last = event.version;
    }

    /// Where it breaks, if it does, after the last event.
    pub fn end(self, head: &Head) -> Option<Break> {
        let short = || (self.last < head.version).then(|| Break { version: self.last + 1, reason: Reason::Missing });
        self.broken.or_else(short)
    }
}

/// Follows the chains of those wallets, in the order of their ids; what each says, to `told`. The events pass by one by one, and are
/// those of one moment.
pub async fn verify<'e>(
    executor: impl PgExecutor<'e>,
    wallets: &[&str],
    mut told: impl FnMut(ChainView),
) -> Result<(), StoreError> {
    let on = "following hash chains";
    let mut rows = sqlx::query(concat!(
        "SELECT s.wallet_id, s.version AS state_version, s.chained, s.head, ",
        columns!(),
        " FROM wallet_state AS s LEFT JOIN wallet_events AS e ON e.wallet_id = s.wallet_id
         WHERE s.wallet_id = ANY($1) ORDER BY s.wallet_id, e.version"
    ))
    .bind(wallets)
    .fetch(executor);
    let mut current: Option<(Follower<'_>, Head)> = None;
    let mut wallets = wallets.to_vec();
    wallets.sort_unstable();
    while let Some(row) = rows.try_next().await.map_err(StoreError::on(on))? {
        let wallet: &str = row.try_get("wallet_id").map_err(StoreError::on(on))?;
        if current.as_ref().is_none_or(|(follower, _)| follower.wallet != wallet) {
            current.take().into_iter().for_each(|(follower, head)| told(view(follower, &head)));
            let Ok(nth) = wallets.binary_search(&wallet) else { continue };
            let head = Head {
                version: row.try_get("state_version").map_err(StoreError::on(on))?,
                chained: row.try_get("chained").map_err(StoreError::on(on))?,
                hash: row.try_get("head").map_err(StoreError::on(on))?,
            };
            current = Some((Follower::new(wallets[nth]), head));
        }
        let is_event = row.try_get::<Option<i64>, _>("version").map_err(StoreError::on(on))?.is_some();
        if let Some((follower, head)) = current.as_mut().filter(|_| is_event) {
            follower.follow(&Stored::read(&row).map_err(StoreError::on(on))?, head);
        }
    }
    current.into_iter().for_each(|(follower, head)| told(view(follower, &head)));
    Ok(())
}

fn view(follower: Follower<'_>, head: &Head) -> ChainView {
    let wallet_id = follower.wallet.to_owned();
    let first_broken = follower.end(head);
    ChainView {
        wallet_id,
        length: head.version,
        head: head.hash.as_ref().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        unchained: head.version - head.chained,
        intact: first_broken.is_none(),
        first_broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of that many events.
    fn chain_of(length: i64) -> (Vec<Stored>, Head) {
        let mut hash = chain::genesis("a");
        let events: Vec<_> = (1..=length)
            .map(|version| {
                let mut event = Stored {
                    version,
                    event_id: Uuid::from_u128(u128::from(version.unsigned_abs())),
                    event_type: "MoneyDeposited".into(),
                    occurred_at: 1_000 * version,
                    correlation_id: Uuid::nil(),
                    causation_id: None,
                    transaction_id: None,
                    data: serde_json::json!({"amount": version.to_string()}),
                    hash: None,
                };
                hash = chain::next(&hash, &event.link("a"));
                event.hash = Some(hash.to_vec());
                event
            })
            .collect();
        (events, Head { version: length, chained: length, hash: Some(hash.to_vec()) })
    }

    fn broken(events: &[Stored], head: &Head) -> Option<(i64, Reason)> {
        let mut follower = Follower::new("a");
        events.iter().for_each(|event| follower.follow(event, head));
        follower.end(head).map(|at| (at.version, at.reason))
    }

    #[test]
    fn what_was_written_is_intact() {
        for length in [1, 2, 7] {
            let (events, head) = chain_of(length);
            assert_eq!(broken(&events, &head), None);
        }
    }

    #[test]
    fn whatever_is_done_to_the_rows_is_found_where_it_was_done() {
        type Tamper = fn(&mut Vec<Stored>, &mut Head);
        let rehash = |events: &mut Vec<Stored>, from: usize| {
            for n in from..events.len() {
                let before = events[n - 1].hash.clone().unwrap();
                let hash = chain::next(&Hash::try_from(before).unwrap(), &events[n].link("a"));
                events[n].hash = Some(hash.to_vec());
            }
        };
        let cases: [(Tamper, i64, Reason); 8] = [
            (|events, _| events[2].data = serde_json::json!({"amount": "1000"}), 3, Reason::Altered),
            (|events, _| events[2].occurred_at -= 1, 3, Reason::Altered),
            (|events, _| events[2].hash = None, 3, Reason::Altered),
            (|events, _| drop(events.remove(2)), 3, Reason::Missing),
            (|events, _| drop(events.pop()), 5, Reason::Missing),
            (|events, _| events.clear(), 1, Reason::Missing),
            (|_, head| head.version = 4, 5, Reason::Unknown),
            (|_, head| head.hash = Some(vec![0; 32]), 5, Reason::HeadDiffers),
        ];
        for (n, (tamper, version, reason)) in cases.into_iter().enumerate() {
            let (mut events, mut head) = chain_of(5);
            tamper(&mut events, &mut head);
            assert_eq!(broken(&events, &head), Some((version, reason)), "case {n}");
        }
        // Whoever rewrites the rest of the chain too is found by the head.
        let (mut events, head) = chain_of(5);
        events[2].data = serde_json::json!({"amount": "1000"});
        rehash(&mut events, 2);
        assert_eq!(broken(&events, &head), Some((5, Reason::HeadDiffers)));
    }

    #[test]
    fn events_that_have_no_hash_yet_must_be_there_all_the_same() {
        let (mut events, mut head) = chain_of(5);
        head.chained = 3;
        head.hash.clone_from(&events[2].hash);
        events[3].hash = None;
        events[4].hash = None;
        assert_eq!(broken(&events, &head), None);
        events.pop();
        assert_eq!(broken(&events, &head), Some((5, Reason::Missing)));
    }
}
