//! The wallet's events, in the event store and on the topic, brought to one form: what is stored as columns and what travels as an
//! envelope must say the same.

use serde_json::Value;
use tidegate_contracts::{Currency, UnknownCurrency};
use uuid::Uuid;

use crate::facts::Event;

/// What both stores say of an event, before it is understood.
pub(super) struct Told<'a> {
    pub(super) id: Uuid,
    pub(super) wallet: &'a str,
    pub(super) version: i64,
    pub(super) kind: &'a str,
    pub(super) data: &'a Value,
}

/// Reads the envelope of a record.
pub(crate) fn from_record(value: &[u8]) -> Result<Event, String> {
    let envelope: Value = serde_json::from_slice(value).map_err(|error| format!("no JSON: {error}"))?;
    let text = |key: &str| envelope[key].as_str().ok_or_else(|| format!("the envelope has no {key}"));
    if text("aggregateType")? != "Wallet" {
        return Err(format!("the aggregate is a {}", text("aggregateType")?));
    }
    event(&Told {
        id: text("eventId")?.parse().map_err(|error| format!("eventId: {error}"))?,
        wallet: text("aggregateId")?,
        version: envelope["aggregateVersion"].as_i64().ok_or("the envelope has no aggregateVersion")?,
        kind: text("eventType")?,
        data: &envelope["data"],
    })
}

/// What an event is about.
enum About {
    Nothing,
    Money,
    /// How its `amount` and its `released` change what is on hold.
    Hold {
        amount: i64,
        released: i64,
    },
}

/// Understands an event. The types are written out here, and not taken from the service, so that a service that changes what its
/// events mean does not take the checker with it.
pub(super) fn event(told: &Told<'_>) -> Result<Event, String> {
    let (direction, about) = match told.kind {
        "WalletOpened" => (0, About::Nothing),
        "MoneyDeposited" | "TransferReceived" => (1, About::Money),
        "MoneyWithdrawn" | "TransferSent" => (-1, About::Money),
        "FundsHeld" => (0, About::Hold { amount: 1, released: 0 }),
        "HoldReleased" => (0, About::Hold { amount: -1, released: 0 }),
        "HoldCaptured" => (-1, About::Hold { amount: -1, released: -1 }),
        other => return Err(format!("no event type is called {other}")),
    };
    let text = |key: &str| told.data[key].as_str().ok_or_else(|| format!("a {} has no {key}", told.kind));
    let currency: Currency = text("currency")?.parse().map_err(|error: UnknownCurrency| error.to_string())?;
    let money = |key: &str| {
        let written = text(key)?;
        minor_units(written, currency.exponent()).ok_or_else(|| format!("{key} {written} is no amount of {currency}"))
    };
    let moves = direction != 0;
    let (reserve, held) = match about {
        About::Hold { amount, released: 0 } => (amount * money("amount")?, Some(money("held")?)),
        About::Hold { amount, released } => {
            (amount * money("amount")? + released * money("released")?, Some(money("held")?))
        }
        About::Money | About::Nothing => (0, None),
    };
    let balance = if matches!(about, About::Nothing) { None } else { Some(money("balance")?) };
    Ok(Event {
        id: told.id,
        wallet: told.wallet.into(),
        version: told.version,
        kind: told.kind.into(),
        currency: currency.to_string(),
        effect: if moves { direction * money("amount")? } else { 0 },
        reserve,
        balance,
        held,
        transaction: if moves { Some(text("transactionId")?.into()) } else { None },
    })
}

/// Minor units of a decimal number with exactly the currency's decimals, which is the only form that is published.
fn minor_units(written: &str, exponent: u8) -> Option<i64> {
    let magnitude = written.strip_prefix('-').unwrap_or(written);
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = format!("{whole}{fraction}");
    let fits = !whole.is_empty()
        && fraction.len() == usize::from(exponent)
        && magnitude.contains('.') == (exponent > 0)
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let units: i64 = fits.then(|| digits.parse().ok())??;
    Some(if written.starts_with('-') { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! golden {
        ($name:literal) => {
            from_record(include_bytes!(concat!("../../../services/contracts/tests/golden/", $name, ".json")))
        };
    }

    #[test]
    fn every_event_of_the_contract_is_understood() {
        for (read, kind, effect) in [
            (golden!("wallet-opened"), "WalletOpened", 0),
            (golden!("money-deposited"), "MoneyDeposited", 1),
            (golden!("money-withdrawn"), "MoneyWithdrawn", -1),
            (golden!("transfer-sent"), "TransferSent", -1),
            (golden!("transfer-received"), "TransferReceived", 1),
            (golden!("funds-held"), "FundsHeld", 0),
            (golden!("hold-released"), "HoldReleased", 0),
            (golden!("hold-captured"), "HoldCaptured", -1),
            (golden!("hold-captured-to-a-wallet"), "HoldCaptured", -1),
        ] {
            let event = read.unwrap();
            assert_eq!((event.kind.as_str(), event.effect.signum()), (kind, effect));
            assert_eq!(event.transaction.is_some(), effect != 0, "{kind}");
            assert_eq!(event.balance.is_some(), kind != "WalletOpened", "{kind}");
            assert_eq!(event.held.is_some(), event.reserve != 0, "{kind}");
        }
        let reserve = |read: Result<Event, String>| read.unwrap().reserve;
        assert_eq!(reserve(golden!("funds-held")), 800);
        assert_eq!(reserve(golden!("hold-released")), -800);
        assert_eq!(reserve(golden!("hold-captured")), -800, "5.00 left, 3.00 are available again");
        let sent = golden!("transfer-sent").unwrap();
        assert_eq!((sent.wallet.as_str(), sent.version, sent.effect), ("alice-eur", 4, -500));
        assert_eq!(sent.transaction.as_deref(), Some("019aa5c8-6b7d-7d02-b2f0-93a1c44e8d21"));
    }

    #[test]
    fn what_is_no_event_is_said_and_not_guessed() {
        let golden = include_str!("../../../services/contracts/tests/golden/transfer-sent.json");
        for (part, instead, said) in [
            ("TransferSent", "TransferGuessed", "no event type is called TransferGuessed"),
            ("\"Wallet\"", "\"Order\"", "the aggregate is a Order"),
            ("\"5.00\"", "\"5.0\"", "amount 5.0 is no amount of EUR"),
            ("\"5.00\"", "5.00", "a TransferSent has no amount"),
            ("\"EUR\"", "\"XXX\"", "no currency is called \"XXX\""),
            ("aggregateVersion", "version", "the envelope has no aggregateVersion"),
        ] {
            let error = from_record(golden.replace(part, instead).as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn amounts_are_read_in_their_one_form() {
        for (text, exponent, units) in
            [("0.05", 2, 5), ("12.34", 2, 1234), ("-0.70", 2, -70), ("70", 0, 70), ("1.234", 3, 1234)]
        {
            assert_eq!(minor_units(text, exponent), Some(units), "{text}");
        }
        for (text, exponent) in [
            ("", 2),
            ("1", 2),
            ("1.2", 2),
            ("1.234", 2),
            (".10", 2),
            ("1.-1", 2),
            ("1e2.00", 2),
            ("1.", 0),
            ("--1.00", 2),
        ] {
            assert_eq!(minor_units(text, exponent), None, "{text}");
        }
        assert_eq!(minor_units("99999999999999999999.00", 2), None);
    }
}
