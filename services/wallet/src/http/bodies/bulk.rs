//! Bulks: many commands in one request.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{capture, holds::hold_id, movement, open, place, release, transfer, wallet_id};
use crate::{
    commands::{Mode, Work},
    domain::Command,
    http::fields::Fields,
    problem::{Kind, Problem},
};

/// Most operations of a bulk.
const MOST: usize = 1000;

/// Many commands in one request.
#[derive(ToSchema)]
#[schema(example = json!({"mode": "Atomic", "operations": [
    {"type": "Deposit", "walletId": "alice-eur", "amount": "12.34"},
    {"type": "Transfer", "from": "alice-eur", "to": "bob-eur", "amount": "5.00"}]}))]
#[allow(dead_code, reason = "describes the body; `bulk` reads it")]
pub struct Bulk {
    /// `Atomic`: all of them happen, or none. `Independent`: each is answered for itself.
    #[schema(pattern = "^(Atomic|Independent)$")]
    mode: String,
    /// 1 to 1000, decided in this order. Each has a `type` (`Open`, `Deposit`, `Withdraw`, `Transfer`, `Hold`, `Capture`, `Release`),
    /// the fields of the request that does it alone, and what that one has in its path: `walletId`, `holdId`.
    #[schema(min_items = 1, max_items = 1000)]
    operations: Vec<Value>,
}

/// What became of a bulk.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"mode": "Independent", "accepted": 1, "refused": 1, "results": [
    {"status": 201, "walletId": "alice-eur", "version": 2, "balance": "12.34", "currency": "EUR",
     "transactionId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44"},
    {"status": 404, "type": "https://tidegate.dev/problems/unknown-wallet", "title": "The wallet does not exist",
     "detail": "operations[1]: there is no wallet bob-eur", "field": "operations[1].to"}]}))]
pub struct BulkDone {
    /// As it was asked.
    pub mode: String,
    /// Operations that happened.
    pub accepted: usize,
    /// Operations that were refused.
    pub refused: usize,
    /// A result an operation: what a request of its own would have been answered, and its status.
    pub results: Vec<Value>,
}

/// Reads a [`Bulk`]. What is malformed in an operation is malformed in the whole.
pub fn bulk(fields: &mut Fields, new_id: fn() -> Uuid) -> Result<Work, Problem> {
    let mode = match fields.text("mode")?.as_str() {
        "Atomic" => Mode::Atomic,
        "Independent" => Mode::Independent,
        _ => return Err(Problem::of(Kind::InvalidText, "mode", "mode is Atomic or Independent")),
    };
    let operations = fields.list("operations")?;
    if !(1..=MOST).contains(&operations.len()) {
        let detail = format!("a bulk holds 1 to {MOST} operations, not {}", operations.len());
        return Err(Problem::of(Kind::TooManyOperations, "operations", detail));
    }
    let read = |(index, value)| operation(value, new_id).map_err(|problem: Problem| problem.within(index));
    let operations = operations.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    Ok(Work::Bulk { mode, operations })
}

fn operation(value: Value, new_id: fn() -> Uuid) -> Result<Command, Problem> {
    let mut fields = Fields::of_value(value)?;
    let kind = fields.text("type")?;
    let command = match kind.as_str() {
        "Open" => open(&mut fields, new_id)?,
        "Deposit" => {
            let wallet = wallet_id("walletId", &fields.text("walletId")?)?;
            Command::Deposit { wallet, movement: movement(&mut fields, new_id)? }
        }
        "Withdraw" => {
            let wallet = wallet_id("walletId", &fields.text("walletId")?)?;
            Command::Withdraw { wallet, movement: movement(&mut fields, new_id)? }
        }
        "Transfer" => transfer(&mut fields, new_id)?,
        "Hold" => place(&mut fields, new_id)?,
        "Capture" => {
            let hold = hold_id(&fields.text("holdId")?)?;
            capture(hold, &mut fields, new_id)?
        }
        "Release" => release(hold_id(&fields.text("holdId")?)?),
        _ => {
            let detail = "type is Open, Deposit, Withdraw, Transfer, Hold, Capture or Release";
            return Err(Problem::of(Kind::InvalidText, "type", detail));
        }
    };
    fields.end()?;
    Ok(command)
}
