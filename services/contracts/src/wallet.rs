//! Events of wallets, on topic `wallet-events`, keyed by the wallet's id.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::{Currency, Event, Money, Unreadable, schema};

pub mod chain;
mod data;

/// What happens to a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalletEvent {
    /// Version 1 of every wallet.
    WalletOpened(WalletOpened),
    /// Money entered from outside.
    MoneyDeposited(MoneyMoved),
    /// Money left to the outside.
    MoneyWithdrawn(MoneyMoved),
    /// Money left to another wallet.
    TransferSent(TransferMoved),
    /// Money entered from another wallet.
    TransferReceived(TransferMoved),
    /// Money was set aside: it stays in the balance and is no longer available.
    FundsHeld(HoldChanged),
    /// Money that was set aside left; what is left of the hold is available again.
    HoldCaptured(HoldCaptured),
    /// Money that was set aside is available again.
    HoldReleased(HoldChanged),
}

/// A wallet and the currency that it will hold for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletOpened {
    /// Who owns it.
    pub owner_id: String,
    /// The one currency that it holds.
    pub currency: Currency,
}

/// Money that came from outside or went there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "data::Moved", into = "data::Moved")]
#[schemars(with = "data::Moved")]
pub struct MoneyMoved {
    /// The movement, which has one event.
    pub transaction_id: Uuid,
    /// How much moved: more than zero, whichever way it went.
    pub amount: Money,
    /// The wallet's balance after it, in the same currency.
    pub balance: Money,
    /// What the caller calls it.
    pub reference: Option<String>,
}

/// One side of a transfer between wallets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "data::Transferred", into = "data::Transferred")]
#[schemars(with = "data::Transferred")]
pub struct TransferMoved {
    /// The movement, which has two events: one of each wallet.
    pub transaction_id: Uuid,
    /// The other wallet.
    pub counterparty: String,
    /// How much moved: more than zero, whichever way it went.
    pub amount: Money,
    /// This wallet's balance after it, in the same currency.
    pub balance: Money,
    /// What the caller calls it.
    pub reference: Option<String>,
}

/// Money that was set aside, or is no longer. The balance is not changed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "data::Hold", into = "data::Hold")]
#[schemars(with = "data::Hold")]
pub struct HoldChanged {
    /// The hold.
    pub hold_id: Uuid,
    /// The whole of it: more than zero.
    pub amount: Money,
    /// The wallet's balance, in the same currency; what is on hold is part of it.
    pub balance: Money,
    /// All that is on hold in the wallet after it.
    pub held: Money,
    /// What the caller calls it.
    pub reference: Option<String>,
}

/// Money that left out of a hold, which ends with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "data::Captured", into = "data::Captured")]
#[schemars(with = "data::Captured")]
pub struct HoldCaptured {
    /// The hold.
    pub hold_id: Uuid,
    /// The movement, which has one event, or two if it went to another wallet.
    pub transaction_id: Uuid,
    /// The wallet that it went to; none if it left to the outside.
    pub counterparty: Option<String>,
    /// How much left: more than zero, at most the hold.
    pub amount: Money,
    /// What is left of the hold, and available again.
    pub released: Money,
    /// The wallet's balance after it, in the same currency.
    pub balance: Money,
    /// All that is on hold in the wallet after it.
    pub held: Money,
    /// What the caller calls it.
    pub reference: Option<String>,
}

impl WalletEvent {
    /// The movement of money that it is part of; none if none moved.
    pub fn transaction_id(&self) -> Option<Uuid> {
        match self {
            Self::WalletOpened(_) | Self::FundsHeld(_) | Self::HoldReleased(_) => None,
            Self::MoneyDeposited(moved) | Self::MoneyWithdrawn(moved) => Some(moved.transaction_id),
            Self::TransferSent(moved) | Self::TransferReceived(moved) => Some(moved.transaction_id),
            Self::HoldCaptured(captured) => Some(captured.transaction_id),
        }
    }

    /// The schema of each event's data, by event type.
    pub fn schemas() -> Vec<(&'static str, Schema)> {
        vec![
            ("WalletOpened", schema::of::<WalletOpened>()),
            ("MoneyDeposited", schema::of::<MoneyMoved>()),
            ("MoneyWithdrawn", schema::of::<MoneyMoved>()),
            ("TransferSent", schema::of::<TransferMoved>()),
            ("TransferReceived", schema::of::<TransferMoved>()),
            ("FundsHeld", schema::of::<HoldChanged>()),
            ("HoldCaptured", schema::of::<HoldCaptured>()),
            ("HoldReleased", schema::of::<HoldChanged>()),
        ]
    }
}

impl Event for WalletEvent {
    const AGGREGATE_TYPE: &'static str = "Wallet";

    fn event_type(&self) -> &'static str {
        match self {
            Self::WalletOpened(_) => "WalletOpened",
            Self::MoneyDeposited(_) => "MoneyDeposited",
            Self::MoneyWithdrawn(_) => "MoneyWithdrawn",
            Self::TransferSent(_) => "TransferSent",
            Self::TransferReceived(_) => "TransferReceived",
            Self::FundsHeld(_) => "FundsHeld",
            Self::HoldCaptured(_) => "HoldCaptured",
            Self::HoldReleased(_) => "HoldReleased",
        }
    }

    fn to_data(&self) -> Value {
        match self {
            Self::WalletOpened(opened) => opened.to_value(),
            Self::MoneyDeposited(moved) | Self::MoneyWithdrawn(moved) => data::Moved::from(moved.clone()).to_value(),
            Self::TransferSent(moved) | Self::TransferReceived(moved) => {
                data::Transferred::from(moved.clone()).to_value()
            }
            Self::FundsHeld(hold) | Self::HoldReleased(hold) => data::Hold::from(hold.clone()).to_value(),
            Self::HoldCaptured(captured) => data::Captured::from(captured.clone()).to_value(),
        }
    }

    fn from_data(event_type: &str, data: Value) -> Result<Self, Unreadable> {
        fn read<T: DeserializeOwned>(event_type: &str, data: Value) -> Result<T, Unreadable> {
            serde_json::from_value(data)
                .map_err(|error| Unreadable::Data { event_type: event_type.to_owned(), reason: error.to_string() })
        }
        match event_type {
            "WalletOpened" => read(event_type, data).map(Self::WalletOpened),
            "MoneyDeposited" => read(event_type, data).map(Self::MoneyDeposited),
            "MoneyWithdrawn" => read(event_type, data).map(Self::MoneyWithdrawn),
            "TransferSent" => read(event_type, data).map(Self::TransferSent),
            "TransferReceived" => read(event_type, data).map(Self::TransferReceived),
            "FundsHeld" => read(event_type, data).map(Self::FundsHeld),
            "HoldCaptured" => read(event_type, data).map(Self::HoldCaptured),
            "HoldReleased" => read(event_type, data).map(Self::HoldReleased),
            other => Err(Unreadable::EventType {
                aggregate_type: Self::AGGREGATE_TYPE,
                event_type: other.chars().take(64).collect(),
            }),
        }
    }
}
