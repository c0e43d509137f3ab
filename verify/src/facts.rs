//! What was found in the stores, reduced to what the invariants speak about. Plain data: no checker needs Kafka or PostgreSQL.
//!
//! Amounts are signed minor units of the currency (cents of EUR); versions count from 1.

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
    /// The balance after it, as the event itself says, when it moves money.
    pub balance: Option<i64>,
    /// The business transaction that it belongs to, when it moves money.
    pub transaction: Option<String>,
}

/// An event as it lies in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's key.
    pub key: String,
    /// What the record says.
    pub event: Event,
}

/// One line of the ledger. The sum over a transaction is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
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
}

/// Everything that the checkers look at, read while nothing moves: projections caught up, outbox empty.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The event store.
    pub committed: Vec<Event>,
    /// The topic, from its beginning, committed records only, in any order of partitions.
    pub published: Vec<Published>,
    /// The ledger projection.
    pub ledger: Vec<Entry>,
    /// How far the ledger projection has come.
    pub ledger_seen: Vec<Seen>,
    /// The read model projection.
    pub read_model: Vec<Balance>,
    /// The balances that commands decide on.
    pub command_state: Vec<Balance>,
    /// Whether a balance may be below zero.
    pub overdraft_allowed: bool,
}
