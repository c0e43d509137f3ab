//! What callers send, and how it becomes a command. What they are sent back is described here for the OpenAPI document.

mod bulk;
mod holds;

use serde::Serialize;
use tidegate_contracts::Currency;
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::Fields;
use crate::{
    domain::{Command, Movement, OwnerId, Reference, WalletId},
    problem::{Kind, Problem},
};

pub use bulk::{Bulk, BulkDone, bulk};
pub use holds::{
    CaptureHold, HoldCaptured, HoldPlaced, HoldReleased, PlaceHold, ReleaseHold, capture, hold_id, place, release,
};

/// A wallet to open.
#[derive(ToSchema)]
#[schema(example = json!({"walletId": "alice-eur", "ownerId": "alice", "currency": "EUR"}))]
#[allow(dead_code, reason = "describes the body; `open` reads it")]
#[schema(rename_all = "camelCase")]
pub struct OpenWallet {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit. Default: a new UUIDv7.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    wallet_id: Option<String>,
    /// A line of 1 to 140 characters.
    #[schema(min_length = 1, max_length = 140)]
    owner_id: String,
    /// ISO 4217 code.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
}

/// Money to deposit or to withdraw.
#[derive(ToSchema)]
#[schema(example = json!({"amount": "12.34", "reference": "invoice 2026-117"}))]
#[allow(dead_code, reason = "describes the body; `movement` reads it")]
pub struct MoveMoney {
    /// A decimal number, more than zero, with no more decimals than the wallet's currency has.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$", max_length = 24)]
    amount: String,
    /// If given, it must be the wallet's.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// A line of 1 to 140 characters.
    #[schema(min_length = 1, max_length = 140)]
    reference: Option<String>,
}

/// Money to move from one wallet to another of the same currency.
#[derive(ToSchema)]
#[schema(example = json!({"from": "alice-eur", "to": "bob-eur", "amount": "5.00"}))]
#[allow(dead_code, reason = "describes the body; `transfer` reads it")]
pub struct TransferMoney {
    /// The wallet that the money leaves.
    from: String,
    /// The wallet that it enters.
    to: String,
    /// A decimal number, more than zero, with no more decimals than the wallets' currency has.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$", max_length = 24)]
    amount: String,
    /// If given, it must be that of both wallets.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// A line of 1 to 140 characters.
    #[schema(min_length = 1, max_length = 140)]
    reference: Option<String>,
}

/// Reads an [`OpenWallet`].
pub fn open(fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Command, Problem> {
    let wallet = match fields.optional_text("walletId")? {
        Some(text) => wallet_id("walletId", &text)?,
        None => wallet_id("walletId", &new_id().to_string())?,
    };
    let owner = OwnerId::parse(&fields.text("ownerId")?).map_err(|error| Problem::text("ownerId", error))?;
    let currency = currency(&fields.text("currency")?)?;
    Ok(Command::Open { wallet, owner, currency })
}

/// Reads a [`MoveMoney`], or the part of a [`TransferMoney`] that is one.
pub fn movement(fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Movement, Problem> {
    let amount = fields.text("amount")?;
    let (currency, reference) = (optional_currency(fields)?, optional_reference(fields)?);
    Ok(Movement { id: new_id(), amount, currency, reference })
}

/// Reads a [`TransferMoney`].
pub fn transfer(fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Command, Problem> {
    let from = wallet_id("from", &fields.text("from")?)?;
    let to = wallet_id("to", &fields.text("to")?)?;
    Ok(Command::Transfer { from, to, movement: movement(fields, new_id)? })
}

/// Reads a wallet's id out of that field.
pub fn wallet_id(field: &'static str, text: &str) -> Result<WalletId, Problem> {
    WalletId::parse(text).map_err(|error| Problem::text(field, error))
}

fn optional_currency(fields: &mut Fields) -> Result<Option<Currency>, Problem> {
    fields.optional_text("currency")?.map(|code| currency(&code)).transpose()
}

fn optional_reference(fields: &mut Fields) -> Result<Option<Reference>, Problem> {
    let reference = fields.optional_text("reference")?;
    reference.map(|text| Reference::parse(&text).map_err(|error| Problem::text("reference", error))).transpose()
}

fn currency(code: &str) -> Result<Currency, Problem> {
    code.parse().map_err(|error| Problem::of(Kind::InvalidCurrency, "currency", error))
}

/// A wallet that was opened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"walletId": "alice-eur", "version": 1, "balance": "0.00", "currency": "EUR", "ownerId": "alice"}))]
pub struct WalletOpened {
    /// Its id.
    pub wallet_id: String,
    /// 1.
    pub version: i64,
    /// Zero, in the currency's decimals.
    pub balance: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Its owner.
    pub owner_id: String,
}

/// A deposit or withdrawal that took place.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"walletId": "alice-eur", "version": 2, "balance": "12.34", "currency": "EUR",
    "transactionId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44"}))]
pub struct MoneyMoved {
    /// The wallet.
    pub wallet_id: String,
    /// Its version after it.
    pub version: i64,
    /// Its balance after it.
    pub balance: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The transaction, as the ledger and the events call it.
    pub transaction_id: Uuid,
}

/// One side of a transfer that took place.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// The wallet.
    pub wallet_id: String,
    /// Its version after it.
    pub version: i64,
    /// Its balance after it.
    pub balance: String,
}

/// A transfer that took place.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"transactionId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "currency": "EUR",
    "from": {"walletId": "alice-eur", "version": 3, "balance": "7.34"},
    "to": {"walletId": "bob-eur", "version": 2, "balance": "5.00"}}))]
pub struct Transferred {
    /// The transaction, as the ledger and the events call it.
    pub transaction_id: Uuid,
    /// ISO 4217 code.
    pub currency: String,
    /// The wallet that the money left.
    pub from: Side,
    /// The wallet that it entered.
    pub to: Side,
}
