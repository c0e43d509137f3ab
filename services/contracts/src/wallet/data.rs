//! The wallet events' data as it is written: amounts as decimal strings beside the one currency that they are of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{HoldCaptured, HoldChanged, MoneyMoved, TransferMoved, WalletOpened};
use crate::{AmountError, Currency, Money};

/// Money that came from outside or went there.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moved {
    /// The movement, which has one event.
    #[schemars(with = "String", extend("format" = "uuid"))]
    transaction_id: Uuid,
    /// The currency of the amounts.
    currency: Currency,
    /// How much moved: a decimal number, more than zero, whichever way it went.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    amount: String,
    /// The wallet's balance after it: a decimal number.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    balance: String,
    /// What the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// One side of a transfer between wallets.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transferred {
    /// The movement, which has two events: one of each wallet.
    #[schemars(with = "String", extend("format" = "uuid"))]
    transaction_id: Uuid,
    /// The other wallet.
    counterparty: String,
    /// The currency of the amounts.
    currency: Currency,
    /// How much moved: a decimal number, more than zero, whichever way it went.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    amount: String,
    /// This wallet's balance after it: a decimal number.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    balance: String,
    /// What the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// Money that was set aside, or is no longer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hold {
    /// The hold.
    #[schemars(with = "String", extend("format" = "uuid"))]
    hold_id: Uuid,
    /// The currency of the amounts.
    currency: Currency,
    /// The whole of the hold: a decimal number, more than zero.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    amount: String,
    /// The wallet's balance, what is on hold included: a decimal number.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    balance: String,
    /// All that is on hold in the wallet after it: a decimal number.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    held: String,
    /// What the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// Money that left out of a hold, which ends with it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Captured {
    /// The hold.
    #[schemars(with = "String", extend("format" = "uuid"))]
    hold_id: Uuid,
    /// The movement, which has one event, or two if it went to another wallet.
    #[schemars(with = "String", extend("format" = "uuid"))]
    transaction_id: Uuid,
    /// The wallet that it went to; absent if it left to the outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counterparty: Option<String>,
    /// The currency of the amounts.
    currency: Currency,
    /// How much left: a decimal number, more than zero.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    amount: String,
    /// What is left of the hold, and available again: a decimal number.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    released: String,
    /// The wallet's balance after it: a decimal number.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    balance: String,
    /// All that is on hold in the wallet after it: a decimal number.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    held: String,
    /// What the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

impl From<MoneyMoved> for Moved {
    fn from(moved: MoneyMoved) -> Self {
        Self {
            transaction_id: moved.transaction_id,
            currency: moved.amount.currency(),
            amount: moved.amount.to_string(),
            balance: moved.balance.to_string(),
            reference: moved.reference,
        }
    }
}

impl TryFrom<Moved> for MoneyMoved {
    type Error = AmountError;

    fn try_from(data: Moved) -> Result<Self, AmountError> {
        Ok(Self {
            transaction_id: data.transaction_id,
            amount: Money::parse_positive(&data.amount, data.currency)?,
            balance: Money::parse(&data.balance, data.currency)?,
            reference: data.reference,
        })
    }
}

impl From<TransferMoved> for Transferred {
    fn from(moved: TransferMoved) -> Self {
        Self {
            transaction_id: moved.transaction_id,
            counterparty: moved.counterparty,
            currency: moved.amount.currency(),
            amount: moved.amount.to_string(),
            balance: moved.balance.to_string(),
            reference: moved.reference,
        }
    }
}

impl TryFrom<Transferred> for TransferMoved {
    type Error = AmountError;

    fn try_from(data: Transferred) -> Result<Self, AmountError> {
        Ok(Self {
            transaction_id: data.transaction_id,
            counterparty: data.counterparty,
            amount: Money::parse_positive(&data.amount, data.currency)?,
            balance: Money::parse(&data.balance, data.currency)?,
            reference: data.reference,
        })
    }
}

/// An amount that may be zero, and not less.
fn not_negative(text: &str, currency: Currency) -> Result<Money, AmountError> {
    match Money::parse(text, currency)? {
        money if money.units() < 0 => Err(AmountError::Negative),
        money => Ok(money),
    }
}

impl From<HoldChanged> for Hold {
    fn from(hold: HoldChanged) -> Self {
        Self {
            hold_id: hold.hold_id,
            currency: hold.amount.currency(),
            amount: hold.amount.to_string(),
            balance: hold.balance.to_string(),
            held: hold.held.to_string(),
            reference: hold.reference,
        }
    }
}

impl TryFrom<Hold> for HoldChanged {
    type Error = AmountError;

    fn try_from(data: Hold) -> Result<Self, AmountError> {
        Ok(Self {
            hold_id: data.hold_id,
            amount: Money::parse_positive(&data.amount, data.currency)?,
            balance: Money::parse(&data.balance, data.currency)?,
            held: not_negative(&data.held, data.currency)?,
            reference: data.reference,
        })
    }
}

impl From<HoldCaptured> for Captured {
    fn from(captured: HoldCaptured) -> Self {
        Self {
            hold_id: captured.hold_id,
            transaction_id: captured.transaction_id,
            counterparty: captured.counterparty,
            currency: captured.amount.currency(),
            amount: captured.amount.to_string(),
            released: captured.released.to_string(),
            balance: captured.balance.to_string(),
            held: captured.held.to_string(),
            reference: captured.reference,
        }
    }
}

impl TryFrom<Captured> for HoldCaptured {
    type Error = AmountError;

    fn try_from(data: Captured) -> Result<Self, AmountError> {
        Ok(Self {
            hold_id: data.hold_id,
            transaction_id: data.transaction_id,
            counterparty: data.counterparty,
            amount: Money::parse_positive(&data.amount, data.currency)?,
            released: not_negative(&data.released, data.currency)?,
            balance: Money::parse(&data.balance, data.currency)?,
            held: not_negative(&data.held, data.currency)?,
            reference: data.reference,
        })
    }
}

// Written out by hand, because serde's way to a value may fail by its signature, and an event that was decided must be written.
// A test holds the two ways against each other.

impl Moved {
    pub(super) fn to_value(&self) -> Value {
        object([
            ("transactionId", Some(self.transaction_id.to_string())),
            ("currency", Some(self.currency.code().to_owned())),
            ("amount", Some(self.amount.clone())),
            ("balance", Some(self.balance.clone())),
            ("reference", self.reference.clone()),
        ])
    }
}

impl Transferred {
    pub(super) fn to_value(&self) -> Value {
        object([
            ("transactionId", Some(self.transaction_id.to_string())),
            ("counterparty", Some(self.counterparty.clone())),
            ("currency", Some(self.currency.code().to_owned())),
            ("amount", Some(self.amount.clone())),
            ("balance", Some(self.balance.clone())),
            ("reference", self.reference.clone()),
        ])
    }
}

impl Hold {
    pub(super) fn to_value(&self) -> Value {
        object([
            ("holdId", Some(self.hold_id.to_string())),
            ("currency", Some(self.currency.code().to_owned())),
            ("amount", Some(self.amount.clone())),
            ("balance", Some(self.balance.clone())),
            ("held", Some(self.held.clone())),
            ("reference", self.reference.clone()),
        ])
    }
}

impl Captured {
    pub(super) fn to_value(&self) -> Value {
        object([
            ("holdId", Some(self.hold_id.to_string())),
            ("transactionId", Some(self.transaction_id.to_string())),
            ("counterparty", self.counterparty.clone()),
            ("currency", Some(self.currency.code().to_owned())),
            ("amount", Some(self.amount.clone())),
            ("released", Some(self.released.clone())),
            ("balance", Some(self.balance.clone())),
            ("held", Some(self.held.clone())),
            ("reference", self.reference.clone()),
        ])
    }
}

impl WalletOpened {
    pub(super) fn to_value(&self) -> Value {
        object([("ownerId", Some(self.owner_id.clone())), ("currency", Some(self.currency.code().to_owned()))])
    }
}

fn object<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name.to_owned(), Value::String(value))))
            .collect::<Map<_, _>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, wallet::WalletEvent};

    #[test]
    fn both_ways_of_writing_agree_and_read_back() {
        let eur: Currency = "EUR".parse().unwrap();
        let (amount, balance) = (Money::new(1234, eur), Money::new(-5, eur));
        let moved = |reference| MoneyMoved { transaction_id: Uuid::from_u128(7), amount, balance, reference };
        let sent = |reference| TransferMoved {
            transaction_id: Uuid::from_u128(7),
            counterparty: "bob".into(),
            amount,
            balance,
            reference,
        };
        let held = |reference| HoldChanged { hold_id: Uuid::from_u128(8), amount, balance, held: amount, reference };
        let captured = |counterparty: Option<&str>| HoldCaptured {
            hold_id: Uuid::from_u128(8),
            transaction_id: Uuid::from_u128(7),
            counterparty: counterparty.map(Into::into),
            amount,
            released: Money::new(0, eur),
            balance,
            held: amount,
            reference: None,
        };
        let opened = WalletOpened { owner_id: "alice".into(), currency: eur };
        for (event, by_serde) in [
            (WalletEvent::WalletOpened(opened.clone()), serde_json::to_value(opened).unwrap()),
            (WalletEvent::MoneyDeposited(moved(None)), serde_json::to_value(moved(None)).unwrap()),
            (
                WalletEvent::MoneyWithdrawn(moved(Some("rent".into()))),
                serde_json::to_value(moved(Some("rent".into()))).unwrap(),
            ),
            (WalletEvent::TransferSent(sent(None)), serde_json::to_value(sent(None)).unwrap()),
            (
                WalletEvent::TransferReceived(sent(Some("x".into()))),
                serde_json::to_value(sent(Some("x".into()))).unwrap(),
            ),
            (WalletEvent::FundsHeld(held(Some("x".into()))), serde_json::to_value(held(Some("x".into()))).unwrap()),
            (WalletEvent::HoldReleased(held(None)), serde_json::to_value(held(None)).unwrap()),
            (WalletEvent::HoldCaptured(captured(None)), serde_json::to_value(captured(None)).unwrap()),
            (WalletEvent::HoldCaptured(captured(Some("b"))), serde_json::to_value(captured(Some("b"))).unwrap()),
        ] {
            assert_eq!(event.to_data(), by_serde);
            assert_eq!(WalletEvent::from_data(event.event_type(), by_serde).unwrap(), event);
        }
    }
}
