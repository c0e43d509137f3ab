//! What was found in the stores, reduced to what the invariants speak about. Plain data: no checker needs Kafka or PostgreSQL.
//!
//! Amounts are signed minor units of the currency (cents of EUR); versions count from 1.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;

/// One event of one wallet, from the event store or from the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's own id, the same in every store.
    pub id: Uuid,
    /// The wallet: the aggregate, and the record's key.
    pub wallet: String,
    /// The wallet's version after the event.
    pub version: i64,
    /// Its type's name.
    pub kind: String,
    /// Currency of the amount.
    pub currency: String,
    /// What it adds to the wallet's balance, in minor units.
    pub effect: i64,
    /// What it adds to the part of the balance that is on hold, in minor units.
    pub reserve: i64,
    /// The balance after it, as the event itself says, when it is about money.
    pub balance: Option<i64>,
    /// What is on hold after it, as the event itself says, when it is about a hold.
    pub held: Option<i64>,
    /// The business transaction that it belongs to, when it moves money.
    pub transaction: Option<String>,
}

/// Where a record lies in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} offset {}", self.partition, self.offset)
    }
}

/// An event as it lies in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where.
    pub place: Place,
    /// The record's key.
    pub key: String,
    /// What the record says.
    pub event: Event,
}

/// A record of the topic that is no event of a wallet: somebody else's, or nobody's. It is no event, but it must be accounted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Where.
    pub place: Place,
    /// The record's key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Why it is none.
    pub why: String,
}

/// One line of the ledger. The sum over a transaction is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event that it was booked for.
    pub event: Uuid,
    /// Its place in the order of booking.
    pub order: i64,
    /// The business transaction.
    pub transaction: String,
    /// A wallet's id, or the name of an account of the ledger's own.
    pub account: String,
    /// What that account is.
    pub kind: AccountKind,
    /// Currency of the amount.
    pub currency: String,
    /// What it adds to the account, in minor units: a credit is positive, a debit negative.
    pub amount: i64,
}

/// What an account of the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A wallet.
    Wallet,
    /// The world outside, which deposits come from and withdrawals go to.
    External,
    /// Between the two wallets of a transfer; empty once both events are booked.
    Transit,
}

/// How far a projection has come with a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The wallet.
    pub wallet: String,
    /// The last version that was applied.
    pub version: i64,
}

/// A wallet as one of the tables that hold a row a wallet says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The wallet.
    pub wallet: String,
    /// The version that the row has seen.
    pub version: i64,
    /// Currency of the balance.
    pub currency: String,
    /// The balance in minor units.
    pub amount: i64,
    /// The part of it that is on hold.
    pub held: i64,
}

/// An event of the store in the hash chain of its wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The wallet.
    pub wallet: String,
    /// The event's version.
    pub version: i64,
    /// The hash that is stored with it; none while it has none.
    pub stored: Option<Vec<u8>>,
    /// The hash that follows from the event and the hash that is stored before it.
    pub computed: Vec<u8>,
}

/// What a consumer group makes of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// The ledger and its watermarks.
    Ledger,
    /// The read model.
    ReadModel,
}

/// A record that a group has put aside, as it lies in the group's retry topic or in the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it lies there.
    pub place: Place,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Where it came from in the group's topic.
    pub origin: Place,
    /// The word that it is, if it is no record but a word to the reader of a retry topic.
    pub control: Option<String>,
}

/// A consumer group of the topic: how far it has come, and what it has put aside on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What it writes.
    pub projection: Projection,
    /// By partition of the topic, the first offset that it has not taken, as its database says.
    pub next: BTreeMap<i32, i64>,
    /// Its retry topic, whose partitions are those of the topic; records that are gone from it were finished.
    pub parked: Vec<Aside>,
    /// By partition of the retry topic, the first offset that is still there.
    pub trimmed: BTreeMap<i32, i64>,
    /// By partition of the retry topic, the first offset that is not finished, as Kafka says; absent: none is.
    pub unfinished: BTreeMap<i32, i64>,
    /// Its dead letters.
    pub dead: Vec<Aside>,
}

/// Everything that the checkers look at, read while nothing moves: projections caught up, outbox empty.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The event store.
    pub committed: Vec<Event>,
    /// The topic, from its beginning, committed records only, in any order of partitions.
    pub published: Vec<Published>,
    /// What else lies in the topic.
    pub foreign: Vec<Foreign>,
    /// The groups that read it.
    pub groups: Vec<Group>,
    /// Records of retry topics and of the dead-letter topic that do not say where they came from: a sentence each.
    pub unattributed: Vec<String>,
    /// The ledger projection.
    pub ledger: Vec<Entry>,
    /// How far the ledger projection has come.
    pub ledger_seen: Vec<Seen>,
    /// The read model projection.
    pub read_model: Vec<Balance>,
    /// The balances that commands decide on.
    pub command_state: Vec<Balance>,
    /// The events of the store as their wallets' chains, by wallet and version.
    pub chain: Vec<Link>,
    /// The head of each wallet's chain, as commands know it; wallets without a chain are left out.
    pub heads: Vec<(String, Vec<u8>)>,
    /// Whether a balance may be below zero.
    pub overdraft_allowed: bool,
}

impl Facts {
    /// The last version of each wallet that a projection has applied.
    pub fn seen(&self, projection: Projection) -> BTreeMap<&str, i64> {
        match projection {
            Projection::Ledger => self.ledger_seen.iter().map(|row| (row.wallet.as_str(), row.version)).collect(),
            Projection::ReadModel => self.read_model.iter().map(|row| (row.wallet.as_str(), row.version)).collect(),
        }
    }
}
