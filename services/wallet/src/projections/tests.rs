//! What events become, before any table sees it.

use jiff::Timestamp;
use tidegate_contracts::{
    Currency, Money,
    wallet::{HoldCaptured, HoldChanged, MoneyMoved, TransferMoved, WalletOpened},
};
use uuid::Uuid;

use super::*;

fn eur(units: i64) -> Money {
    Money::new(units, "EUR".parse::<Currency>().unwrap())
}

fn envelope(wallet: &str, version: i64, event: WalletEvent) -> Envelope<WalletEvent> {
    Envelope {
        event_id: Uuid::nil(),
        aggregate_id: wallet.to_owned(),
        aggregate_version: version,
        timestamp: Timestamp::from_millisecond(1_000 * version).unwrap(),
        correlation_id: Uuid::nil(),
        causation_id: None,
        event,
    }
}

fn opened(wallet: &str) -> Envelope<WalletEvent> {
    let opened = WalletOpened { owner_id: "alice".into(), currency: eur(0).currency() };
    envelope(wallet, 1, WalletEvent::WalletOpened(opened))
}

fn moved(amount: i64, balance: i64) -> MoneyMoved {
    MoneyMoved { transaction_id: Uuid::nil(), amount: eur(amount), balance: eur(balance), reference: None }
}

fn transferred(other: &str, amount: i64, balance: i64) -> TransferMoved {
    TransferMoved {
        transaction_id: Uuid::nil(),
        counterparty: other.to_owned(),
        amount: eur(amount),
        balance: eur(balance),
        reference: Some("rent".into()),
    }
}

fn held(amount: i64, balance: i64, held: i64) -> HoldChanged {
    HoldChanged { hold_id: Uuid::nil(), amount: eur(amount), balance: eur(balance), held: eur(held), reference: None }
}

fn captured(counterparty: Option<&str>) -> HoldCaptured {
    HoldCaptured {
        hold_id: Uuid::nil(),
        transaction_id: Uuid::nil(),
        counterparty: counterparty.map(Into::into),
        amount: eur(500),
        released: eur(100),
        balance: eur(700),
        held: eur(50),
        reference: None,
    }
}

#[test]
fn each_event_is_booked_against_the_account_that_the_money_came_from_or_went_to() {
    for (event, amount, account, counterparty) in [
        (WalletEvent::MoneyDeposited(moved(500, 700)), 500, "external:EUR", None),
        (WalletEvent::MoneyWithdrawn(moved(500, 700)), -500, "external:EUR", None),
        (WalletEvent::TransferSent(transferred("b", 500, 700)), -500, "transit:EUR", Some("b")),
        (WalletEvent::TransferReceived(transferred("b", 500, 700)), 500, "transit:EUR", Some("b")),
        (WalletEvent::HoldCaptured(captured(None)), -500, "external:EUR", None),
        (WalletEvent::HoldCaptured(captured(Some("b"))), -500, "transit:EUR", Some("b")),
    ] {
        let envelope = envelope("a", 2, event);
        let booking = ledger::booking(&envelope).unwrap();
        assert_eq!(booking.amount, amount, "{envelope:?}");
        assert_eq!(booking.counter.account("EUR"), account, "{envelope:?}");
        assert_eq!(booking.counterparty, counterparty, "{envelope:?}");
        assert_eq!(booking.balance, eur(700));
    }
    for event in [WalletEvent::FundsHeld(held(500, 700, 500)), WalletEvent::HoldReleased(held(500, 700, 0))] {
        assert_eq!(ledger::booking(&envelope("a", 2, event)), None, "what is on hold has not moved");
    }
    assert_eq!(ledger::booking(&opened("a")), None);
}

#[test]
fn a_wallet_is_written_once_a_batch_at_its_last_version() {
    let events = [
        opened("b"),
        envelope("a", 7, WalletEvent::MoneyDeposited(moved(1, 11))),
        envelope("b", 2, WalletEvent::MoneyDeposited(moved(5, 5))),
        envelope("a", 8, WalletEvent::TransferSent(transferred("b", 3, 8))),
        envelope("b", 3, WalletEvent::TransferReceived(transferred("a", 3, 8))),
    ];
    let news: Vec<_> = events.iter().collect();
    let rows: Vec<_> = read_model::fold(&news)
        .into_iter()
        .map(|(wallet, change)| {
            (wallet, change.version, change.balance.units(), change.updated_at, change.opened.map(|(_, at)| at))
        })
        .collect();
    assert_eq!(rows, [("a", 8, 8, 8_000, None), ("b", 3, 8, 3_000, Some(1_000))]);
}

#[test]
fn what_is_on_hold_is_what_the_last_event_says_that_says_it() {
    let events = [
        envelope("a", 7, WalletEvent::FundsHeld(held(5, 11, 5))),
        envelope("a", 8, WalletEvent::MoneyDeposited(moved(1, 12))),
        envelope("b", 4, WalletEvent::MoneyDeposited(moved(1, 1))),
        envelope("c", 2, WalletEvent::HoldCaptured(captured(None))),
    ];
    let news: Vec<_> = events.iter().collect();
    let rows: Vec<_> = read_model::fold(&news)
        .into_iter()
        .map(|(wallet, change)| (wallet, change.balance.units(), change.held.map(Money::units)))
        .collect();
    assert_eq!(rows, [("a", 12, Some(5)), ("b", 1, None), ("c", 700, Some(50))]);
}
