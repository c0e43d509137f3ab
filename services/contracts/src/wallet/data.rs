//! The wallet events' data as it is written: amounts as decimal strings beside the one currency that they are of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{MoneyMoved, TransferMoved, WalletOpened};
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
        ] {
            assert_eq!(event.to_data(), by_serde);
            assert_eq!(WalletEvent::from_data(event.event_type(), by_serde).unwrap(), event);
        }
    }
}
