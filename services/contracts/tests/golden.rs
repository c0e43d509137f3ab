//! What was once published stays readable, and is still written the same. A file here is never edited: a new form is a new file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::Timestamp;
use tidegate_contracts::{
    Envelope, Event, Money, Unreadable,
    wallet::{HoldCaptured, HoldChanged, MoneyMoved, TransferMoved, WalletEvent, WalletOpened},
};
use uuid::{Uuid, uuid};

const EVENT: Uuid = uuid!("019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44");
const CORRELATION: Uuid = uuid!("019aa5c8-6b70-7a01-8c55-5b1f0e9d7a10");
const HOLD: Uuid = uuid!("019aa5c8-6b7c-7e03-a1b2-77c1d2e3f405");
const TRANSACTION: Uuid = uuid!("019aa5c8-6b7d-7d02-b2f0-93a1c44e8d21");

fn envelope(version: i64, event: WalletEvent) -> Envelope<WalletEvent> {
    Envelope {
        event_id: EVENT,
        aggregate_id: "alice-eur".into(),
        aggregate_version: version,
        timestamp: "2026-11-21T10:15:30.120Z".parse::<Timestamp>().unwrap(),
        correlation_id: CORRELATION,
        causation_id: None,
        event,
    }
}

fn eur(units: i64) -> Money {
    Money::new(units, "EUR".parse().unwrap())
}

fn moved(reference: Option<&str>) -> MoneyMoved {
    MoneyMoved {
        transaction_id: TRANSACTION,
        amount: eur(1234),
        balance: eur(2000),
        reference: reference.map(Into::into),
    }
}

fn transferred(reference: Option<&str>) -> TransferMoved {
    TransferMoved {
        transaction_id: TRANSACTION,
        counterparty: "bob-eur".into(),
        amount: eur(500),
        balance: eur(-1),
        reference: reference.map(Into::into),
    }
}

fn hold(reference: Option<&str>) -> HoldChanged {
    HoldChanged {
        hold_id: HOLD,
        amount: eur(800),
        balance: eur(2000),
        held: eur(800),
        reference: reference.map(Into::into),
    }
}

fn captured(counterparty: Option<&str>) -> HoldCaptured {
    HoldCaptured {
        hold_id: HOLD,
        transaction_id: TRANSACTION,
        counterparty: counterparty.map(Into::into),
        amount: eur(500),
        released: eur(300),
        balance: eur(1500),
        held: eur(0),
        reference: Some("room 12".into()),
    }
}

#[test]
fn every_event_that_was_ever_published_is_readable_and_written_the_same() {
    let opened = WalletOpened { owner_id: "alice".into(), currency: "EUR".parse().unwrap() };
    for (golden, read) in [
        (include_str!("golden/wallet-opened.json"), envelope(1, WalletEvent::WalletOpened(opened))),
        (include_str!("golden/money-deposited.json"), envelope(2, WalletEvent::MoneyDeposited(moved(None)))),
        (include_str!("golden/money-withdrawn.json"), envelope(3, WalletEvent::MoneyWithdrawn(moved(Some("rent"))))),
        (include_str!("golden/transfer-sent.json"), envelope(4, WalletEvent::TransferSent(transferred(None)))),
        (
            include_str!("golden/transfer-received.json"),
            Envelope {
                causation_id: Some(CORRELATION),
                ..envelope(5, WalletEvent::TransferReceived(transferred(Some("lunch"))))
            },
        ),
        (include_str!("golden/funds-held.json"), envelope(6, WalletEvent::FundsHeld(hold(Some("room 12"))))),
        (include_str!("golden/hold-captured.json"), envelope(7, WalletEvent::HoldCaptured(captured(None)))),
        (
            include_str!("golden/hold-captured-to-a-wallet.json"),
            envelope(7, WalletEvent::HoldCaptured(captured(Some("bob-eur")))),
        ),
        (include_str!("golden/hold-released.json"), envelope(7, WalletEvent::HoldReleased(hold(None)))),
    ] {
        assert_eq!(Envelope::from_bytes(golden.as_bytes()).unwrap(), read);
        assert_eq!(read.to_json(), serde_json::from_str::<serde_json::Value>(golden).unwrap());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&read.to_bytes()).unwrap(), read.to_json());
        assert_eq!(Envelope::from_bytes(&read.to_bytes()).unwrap(), read);
    }
}

#[test]
fn an_id_of_any_characters_is_written_as_json() {
    let opened = WalletOpened { owner_id: "a \"b\" \\ \u{1}".into(), currency: "EUR".parse().unwrap() };
    let mut envelope = envelope(1, WalletEvent::WalletOpened(opened));
    envelope.aggregate_id = "\"quoted\" \\ \u{7} \u{1f980}".into();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&envelope.to_bytes()).unwrap(), envelope.to_json());
}

fn changed(from: &str, to: &str) -> Result<Envelope<WalletEvent>, Unreadable> {
    let golden = include_str!("golden/money-deposited.json");
    let text = golden.replace(from, to);
    assert_ne!(text, golden, "{from} is not in the golden file");
    Envelope::from_bytes(text.as_bytes())
}

#[test]
fn a_key_that_a_newer_producer_adds_is_let_pass() {
    assert!(changed("\"data\": {", "\"region\": \"eu\", \"data\": {\"channel\": \"card\",").is_ok());
}

#[test]
fn an_event_without_a_cause_may_leave_the_key_out() {
    assert_eq!(changed("\"causationId\": null,", "").unwrap().causation_id, None);
}

#[test]
fn what_cannot_be_read_says_what_is_wrong() {
    for (from, to, said) in [
        ("\"Wallet\"", "\"Order\"", "the event is of a Order, not of a Wallet"),
        ("MoneyDeposited", "MoneyBurnt", "no event of a Wallet is called MoneyBurnt"),
        (
            "\"12.34\"",
            "12.34",
            "the data is not that of a MoneyDeposited: invalid type: floating point `12.34`, expected a string",
        ),
        (
            "\"12.34\"",
            "\"0.00\"",
            "the data is not that of a MoneyDeposited: the amount is zero; it must be more than zero",
        ),
        ("\"12.34\"", "\"1.234\"", "the data is not that of a MoneyDeposited: the amount has 3 decimals; EUR has 2"),
        (": 2,", ": 0,", "the value is not an event's envelope: aggregateVersion is 0"),
    ] {
        assert_eq!(changed(from, to).unwrap_err().to_string(), said);
    }
    let not_json = Envelope::<WalletEvent>::from_bytes(b"\xff\xfe").unwrap_err().to_string();
    assert!(not_json.starts_with("the value is not an event's envelope: "), "{not_json}");
}

#[test]
fn a_time_between_milliseconds_is_written_to_the_millisecond() {
    let opened = WalletOpened { owner_id: "alice".into(), currency: "EUR".parse().unwrap() };
    let mut envelope = envelope(1, WalletEvent::WalletOpened(opened));
    for (time, written) in [
        ("2026-11-21T10:15:30.1239Z", "2026-11-21T10:15:30.123Z"),
        ("2026-11-21T10:15:30Z", "2026-11-21T10:15:30.000Z"),
    ] {
        envelope.timestamp = time.parse().unwrap();
        assert_eq!(envelope.to_json()["timestamp"], written);
    }
    assert_eq!(envelope.event.event_type(), "WalletOpened");
}
