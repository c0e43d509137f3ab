//! A history of wallets to replay: each opens, then money comes and goes, in deposits and transfers.

use anyhow::Context;
use jiff::Timestamp;
use tidegate_contracts::{
    Currency, Envelope, Money,
    wallet::{MoneyMoved, TransferMoved, WalletEvent, WalletOpened},
};
use uuid::Uuid;

use crate::{cluster::Cluster, writer};

/// What a movement moves, in minor units.
const AMOUNT: i64 = 1_234;

/// Events of the history that move money: all but each wallet's first.
pub fn movements(events: u64, wallets: u64) -> u64 {
    events - wallets.min(events)
}

/// Writes the history to the topic, wallets in turn.
pub async fn write(cluster: &Cluster, topic: &str, events: u64, wallets: u64) -> anyhow::Result<()> {
    let eur = "EUR".parse::<Currency>().context("EUR is a currency")?;
    let records = (0..events).map(move |number| {
        let event = event(number % wallets, (number / wallets) as i64 + 1, wallets, eur);
        let value = event.to_bytes();
        (event.aggregate_id, value)
    });
    writer::write(cluster, topic, records).await
}

fn event(wallet: u64, version: i64, wallets: u64, eur: Currency) -> Envelope<WalletEvent> {
    // A deposit for each transfer sent and received, so that no balance falls.
    let balance = Money::new((version - 1) * AMOUNT, eur);
    let amount = Money::new(AMOUNT, eur);
    let transferred = || TransferMoved {
        transaction_id: Uuid::now_v7(),
        counterparty: name((wallet + 1) % wallets),
        amount,
        balance,
        reference: None,
    };
    let event = match version {
        1 => WalletEvent::WalletOpened(WalletOpened { owner_id: format!("owner-of-{wallet}"), currency: eur }),
        _ if version % 3 == 0 => WalletEvent::TransferSent(transferred()),
        _ if version % 3 == 1 => WalletEvent::TransferReceived(transferred()),
        _ => WalletEvent::MoneyDeposited(MoneyMoved {
            transaction_id: Uuid::now_v7(),
            amount,
            balance,
            reference: Some("takings of the day".into()),
        }),
    };
    Envelope {
        event_id: Uuid::now_v7(),
        aggregate_id: name(wallet),
        aggregate_version: version,
        timestamp: Timestamp::now(),
        correlation_id: Uuid::now_v7(),
        causation_id: None,
        event,
    }
}

fn name(wallet: u64) -> String {
    format!("bench-wallet-{wallet}")
}
