//! The wallet's events, in the event store and on the topic, brought to one form: what is stored as columns and what travels as an
//! envelope must say the same.

use serde_json::Value;
use uuid::Uuid;

use crate::{client::minor_units, facts::Event};

/// What both stores say of an event, before it is understood.
pub(super) struct Told<'a> {
    pub(super) id: Uuid,
    pub(super) wallet: &'a str,
    pub(super) version: i64,
    pub(super) kind: &'a str,
    pub(super) data: &'a Value,
}

/// Reads the envelope of a record.
pub(super) fn from_record(value: &[u8]) -> Result<Event, String> {
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

/// Understands an event. The types are written out here, and not taken from the service, so that a service that changes what its
/// events mean does not take the checker with it.
pub(super) fn event(told: &Told<'_>) -> Result<Event, String> {
    let direction = match told.kind {
        "WalletOpened" => 0,
        "MoneyDeposited" | "TransferReceived" => 1,
        "MoneyWithdrawn" | "TransferSent" => -1,
        other => return Err(format!("no event type is called {other}")),
    };
    let text = |pointer: &str| told.data.pointer(pointer).and_then(Value::as_str);
    let amount = match (direction, text("/amount")) {
        (0, _) => 0,
        (_, Some(written)) => minor_units(written).ok_or_else(|| format!("{written} is no amount"))?,
        (_, None) => return Err(format!("a {} has no amount", told.kind)),
    };
    Ok(Event {
        id: told.id,
        wallet: told.wallet.into(),
        version: told.version,
        kind: told.kind.into(),
        currency: text("/currency").ok_or_else(|| format!("a {} has no currency", told.kind))?.into(),
        effect: direction * amount,
        transaction: text("/transactionId").map(Into::into),
    })
}
