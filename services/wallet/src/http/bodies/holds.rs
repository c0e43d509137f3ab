//! Holds: what callers send, and what they are sent back.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Side, optional_currency, optional_reference, wallet_id};
use crate::{
    domain::{Capture, Command},
    http::fields::Fields,
    problem::{Kind, Problem},
};

/// Money to set aside.
#[derive(ToSchema)]
#[schema(example = json!({"walletId": "alice-eur", "amount": "8.00", "reference": "room 12"}))]
#[allow(dead_code, reason = "describes the body; `place` reads it")]
#[schema(rename_all = "camelCase")]
pub struct PlaceHold {
    /// The wallet.
    wallet_id: String,
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

/// Money to let leave out of a hold, which ends with it.
#[derive(ToSchema)]
#[schema(example = json!({"amount": "5.00", "to": "hotel-eur"}))]
#[allow(dead_code, reason = "describes the body; `capture` reads it")]
pub struct CaptureHold {
    /// A decimal number, more than zero and at most the hold; what is left of the hold is available again. Default: the whole hold.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$", max_length = 24)]
    amount: Option<String>,
    /// If given, it must be the wallet's.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// The wallet that it goes to. Default: to the outside, as a withdrawal does.
    to: Option<String>,
    /// A line of 1 to 140 characters. Default: that of the hold.
    #[schema(min_length = 1, max_length = 140)]
    reference: Option<String>,
}

/// Nothing: the path says it all.
#[derive(ToSchema)]
#[schema(example = json!({}))]
pub struct ReleaseHold {}

/// Reads a [`PlaceHold`].
pub fn place(fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Command, Problem> {
    let wallet = wallet_id("walletId", &fields.text("walletId")?)?;
    Ok(Command::Hold { wallet, movement: super::movement(fields, new_id)? })
}

/// Reads a [`CaptureHold`].
pub fn capture(hold: Uuid, fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Command, Problem> {
    Ok(Command::Capture(Capture {
        hold,
        transaction_id: new_id(),
        amount: fields.optional_text("amount")?,
        currency: optional_currency(fields)?,
        to: fields.optional_text("to")?.map(|id| wallet_id("to", &id)).transpose()?,
        reference: optional_reference(fields)?,
    }))
}

/// Reads a [`ReleaseHold`].
pub fn release(hold: Uuid) -> Command {
    Command::Release { hold }
}

/// Reads a hold's id.
pub fn hold_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Problem::of(Kind::InvalidId, "holdId", "a hold's id is a UUID"))
}

/// A hold that was placed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"holdId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "amount": "8.00", "walletId": "alice-eur",
    "version": 3, "balance": "12.34", "held": "8.00", "available": "4.34", "currency": "EUR"}))]
pub struct HoldPlaced {
    /// Its id.
    pub hold_id: Uuid,
    /// The whole of it.
    pub amount: String,
    /// The wallet.
    pub wallet_id: String,
    /// The wallet's version after it.
    pub version: i64,
    /// The wallet's balance, what is on hold included.
    pub balance: String,
    /// All that is on hold in the wallet.
    pub held: String,
    /// The balance less what is on hold.
    pub available: String,
    /// ISO 4217 code.
    pub currency: String,
}

/// A hold that was captured.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"holdId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "amount": "8.00", "captured": "5.00",
    "transactionId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b46", "walletId": "alice-eur", "version": 4, "balance": "7.34",
    "held": "0.00", "available": "7.34", "currency": "EUR", "to": {"walletId": "hotel-eur", "version": 2, "balance": "5.00"}}))]
pub struct HoldCaptured {
    /// The hold and its wallet.
    #[serde(flatten)]
    pub hold: HoldPlaced,
    /// How much left. The rest of the hold is available again.
    pub captured: String,
    /// The transaction, as the ledger and the events call it.
    pub transaction_id: Uuid,
    /// The wallet that it went to, if it went to one.
    pub to: Option<Side>,
}

/// A hold that was released.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"holdId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "amount": "8.00", "captured": "0.00",
    "walletId": "alice-eur", "version": 4, "balance": "12.34", "held": "0.00", "available": "12.34", "currency": "EUR"}))]
pub struct HoldReleased {
    /// The hold and its wallet.
    #[serde(flatten)]
    pub hold: HoldPlaced,
    /// Nothing left.
    pub captured: String,
}
