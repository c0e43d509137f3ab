//! Events of wallets, on topic `wallet-events`, keyed by the wallet's id.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::{Currency, Event, Money, Unreadable, schema};

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

impl WalletEvent {
    /// The movement of money that it is part of; none if none moved.
    pub fn transaction_id(&self) -> Option<Uuid> {
        match self {
            Self::WalletOpened(_) => None,
            Self::MoneyDeposited(moved) | Self::MoneyWithdrawn(moved) => Some(moved.transaction_id),
            Self::TransferSent(moved) | Self::TransferReceived(moved) => Some(moved.transaction_id),
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
        }
    }

    fn to_data(&self) -> Value {
        match self {
            Self::WalletOpened(opened) => opened.to_value(),
            Self::MoneyDeposited(moved) | Self::MoneyWithdrawn(moved) => data::Moved::from(moved.clone()).to_value(),
            Self::TransferSent(moved) | Self::TransferReceived(moved) => {
                data::Transferred::from(moved.clone()).to_value()
            }
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
            other => Err(Unreadable::EventType {
                aggregate_type: Self::AGGREGATE_TYPE,
                event_type: other.chars().take(64).collect(),
            }),
        }
    }
}
