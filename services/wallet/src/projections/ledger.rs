//! Events to double-entry ledger entries. Every event that moves money becomes two entries which sum to zero: the wallet's, and that
//! of an account of the ledger's own. A transfer is two events, on two partitions; the money is in transit between them, so that
//! either side balances without the other (docs/adr/0010-ledger-accounts.md).

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use tidegate_contracts::{
    Envelope, Event, Money,
    wallet::{HoldCaptured, MoneyMoved, TransferMoved, WalletEvent},
};
use uuid::Uuid;

use crate::error::StoreError;

/// The two lines of an event that moved money.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking<'a> {
    /// The event.
    pub envelope: &'a Envelope<WalletEvent>,
    /// The transaction that it belongs to.
    pub transaction_id: Uuid,
    /// What it adds to the wallet, in minor units; the counter-account gets the opposite.
    pub amount: i64,
    /// The wallet's balance after it.
    pub balance: Money,
    /// What the counter-account is: External or Transit.
    pub counter: Counter,
    /// The other wallet of a transfer.
    pub counterparty: Option<&'a str>,
    /// What the caller calls it.
    pub reference: Option<&'a str>,
}

/// The accounts of the ledger that are no wallets, one a currency each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Where money comes from and goes to.
    External,
    /// Where money is between the two wallets of a transfer.
    Transit,
}

impl Counter {
    /// As `account_kind` says it.
    fn kind(self) -> &'static str {
        match self {
            Self::External => "External",
            Self::Transit => "Transit",
        }
    }

    /// The account's name.
    pub fn account(self, currency: &str) -> String {
        format!("{}:{currency}", self.kind().to_ascii_lowercase())
    }
}

/// How an event is booked; not at all if it moves no money.
pub fn booking(envelope: &Envelope<WalletEvent>) -> Option<Booking<'_>> {
    match &envelope.event {
        // What is on hold is still the wallet's: nothing has moved (docs/adr/0017-holds-are-not-booked.md).
        WalletEvent::WalletOpened(_) | WalletEvent::FundsHeld(_) | WalletEvent::HoldReleased(_) => None,
        WalletEvent::MoneyDeposited(moved) => Some(with_outside(envelope, moved, 1)),
        WalletEvent::MoneyWithdrawn(moved) => Some(with_outside(envelope, moved, -1)),
        WalletEvent::TransferReceived(moved) => Some(with_another(envelope, moved, 1)),
        WalletEvent::TransferSent(moved) => Some(with_another(envelope, moved, -1)),
        WalletEvent::HoldCaptured(captured) => Some(out_of_hold(envelope, captured)),
    }
}

fn with_outside<'a>(envelope: &'a Envelope<WalletEvent>, moved: &'a MoneyMoved, sign: i64) -> Booking<'a> {
    Booking {
        envelope,
        transaction_id: moved.transaction_id,
        amount: sign * moved.amount.units(),
        balance: moved.balance,
        counter: Counter::External,
        counterparty: None,
        reference: moved.reference.as_deref(),
    }
}

fn with_another<'a>(envelope: &'a Envelope<WalletEvent>, moved: &'a TransferMoved, sign: i64) -> Booking<'a> {
    Booking {
        envelope,
        transaction_id: moved.transaction_id,
        amount: sign * moved.amount.units(),
        balance: moved.balance,
        counter: Counter::Transit,
        counterparty: Some(&moved.counterparty),
        reference: moved.reference.as_deref(),
    }
}

fn out_of_hold<'a>(envelope: &'a Envelope<WalletEvent>, captured: &'a HoldCaptured) -> Booking<'a> {
    let counterparty = captured.counterparty.as_deref();
    Booking {
        envelope,
        transaction_id: captured.transaction_id,
        amount: -captured.amount.units(),
        balance: captured.balance,
        counter: if counterparty.is_some() { Counter::Transit } else { Counter::External },
        counterparty,
        reference: captured.reference.as_deref(),
    }
}

/// Removes all entries and what was seen of the wallets. Readers wait for the transaction, and find none until entries are booked.
pub async fn clear(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("TRUNCATE ledger_entries, ledger_watermarks")
        .execute(connection)
        .await
        .map_err(StoreError::on("emptying the ledger"))?;
    Ok(())
}

/// The versions up to which those wallets are booked.
pub async fn seen(connection: &mut PgConnection, wallets: &[&str]) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as(
            // Each by itself: see `load` of the command side.
            "SELECT wallet_id, version FROM unnest($1::text[]) AS wanted (id)
             CROSS JOIN LATERAL (SELECT wallet_id, version FROM ledger_watermarks WHERE wallet_id = wanted.id LIMIT 1) AS found",
        )
        .bind(wallets)
        .fetch_all(connection)
        .await
            .map_err(StoreError::on("reading the ledger's watermarks"))?;
    Ok(rows.into_iter().collect())
}

/// Books the events, two lines each, and moves the watermarks to where the events led, in one statement. The entries' numbers are
/// given in this order.
pub async fn book(
    connection: &mut PgConnection,
    bookings: &[Booking<'_>],
    watermarks: &BTreeMap<&str, i64>,
) -> Result<(), StoreError> {
    let text = |of: fn(&Booking<'_>) -> String| bookings.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "WITH booked AS (
           INSERT INTO ledger_entries (wallet_id, version, line, event_id, event_type, transaction_id, account, account_kind,
             currency, amount, balance, counterparty, reference, occurred_at)
           SELECT wallet_id, version, line, event_id, event_type, transaction_id,
             CASE line WHEN 1 THEN wallet_id ELSE counter_account END, CASE line WHEN 1 THEN 'Wallet' ELSE counter_kind END,
             currency, CASE line WHEN 1 THEN amount ELSE -amount END, CASE line WHEN 1 THEN balance END,
             counterparty, reference, 'epoch'::timestamptz + occurred_at * interval '1 ms'
           FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                       $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[])
             WITH ORDINALITY AS booked (wallet_id, version, event_id, event_type, transaction_id, counter_account,
               counter_kind, currency, amount, balance, counterparty, reference, occurred_at, nth),
             (VALUES (1::smallint), (2::smallint)) AS lines (line)
           ORDER BY nth, line)
         INSERT INTO ledger_watermarks (wallet_id, version) SELECT * FROM unnest($14::text[], $15::bigint[])
         ON CONFLICT ON CONSTRAINT ledger_watermarks_wallet_id DO UPDATE SET version = excluded.version",
    )
    .bind(bookings.iter().map(|b| b.envelope.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.envelope.aggregate_version).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.envelope.event_id).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.envelope.event.event_type()).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.transaction_id).collect::<Vec<_>>())
    .bind(text(|b| b.counter.account(b.balance.currency().code())))
    .bind(bookings.iter().map(|b| b.counter.kind()).collect::<Vec<_>>())
    .bind(text(|b| b.balance.currency().code().to_owned()))
    .bind(bookings.iter().map(|b| b.amount).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.balance.units()).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.counterparty).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.reference).collect::<Vec<_>>())
    .bind(bookings.iter().map(|b| b.envelope.timestamp.as_millisecond()).collect::<Vec<_>>())
    .bind(watermarks.keys().collect::<Vec<_>>())
    .bind(watermarks.values().collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(StoreError::on("booking entries in the ledger"))?;
    Ok(())
}
