//! Holds: one as it is now, and those of a wallet that were open at a version of it.

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{column, decimal};
use crate::{domain::WalletId, error::StoreError};

/// Most holds that are shown with their wallet.
const MOST: i64 = 100;

/// A hold as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"holdId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "walletId": "alice-eur", "status": "Captured",
    "amount": "8.00", "captured": "5.00", "to": "hotel-eur", "currency": "EUR", "reference": "room 12",
    "placedAt": "2026-03-01T12:00:05.120Z", "settledAt": "2026-03-03T10:00:00.000Z"}))]
pub struct HoldView {
    /// Its id.
    pub hold_id: Uuid,
    /// The wallet.
    pub wallet_id: String,
    /// `Held`, `Captured` or `Released`.
    pub status: &'static str,
    /// The whole of it.
    pub amount: String,
    /// How much of it left the wallet; null while it is held.
    pub captured: Option<String>,
    /// The wallet that it went to; null if it went nowhere, or to the outside.
    pub to: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
    /// What the caller called it.
    pub reference: Option<String>,
    /// RFC 3339, UTC.
    pub placed_at: String,
    /// RFC 3339, UTC; null while it is held.
    pub settled_at: Option<String>,
}

/// A hold that is open, as its wallet shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenHold {
    /// Its id.
    pub hold_id: Uuid,
    /// The whole of it.
    pub amount: String,
    /// What the caller called it.
    pub reference: Option<String>,
    /// RFC 3339, UTC.
    pub placed_at: String,
}

/// The hold; none if it was never placed.
pub async fn hold(pool: &PgPool, hold: Uuid) -> Result<Option<HoldView>, StoreError> {
    let on = "reading a hold";
    let row = sqlx::query(concat!(
        "SELECT h.wallet_id, h.amount, h.captured, h.captured_to, h.currency, h.reference, ",
        rfc3339!("p.occurred_at"),
        " AS placed_at, ",
        rfc3339!("s.occurred_at"),
        " AS settled_at
         FROM wallet_holds AS h
         JOIN wallet_events AS p ON (p.wallet_id, p.version) = (h.wallet_id, h.placed)
         LEFT JOIN wallet_events AS s ON (s.wallet_id, s.version) = (h.wallet_id, h.settled)
         WHERE h.hold_id = $1"
    ))
    .bind(hold)
    .fetch_optional(pool)
    .await
    .map_err(StoreError::on(on))?;
    row.map(|row| {
        let currency: String = column(&row, "currency", on)?;
        let captured: Option<i64> = column(&row, "captured", on)?;
        Ok(HoldView {
            hold_id: hold,
            wallet_id: column(&row, "wallet_id", on)?,
            status: match captured {
                None => "Held",
                Some(0) => "Released",
                Some(_) => "Captured",
            },
            amount: decimal(column(&row, "amount", on)?, &currency)?,
            captured: captured.map(|captured| decimal(captured, &currency)).transpose()?,
            to: column(&row, "captured_to", on)?,
            currency,
            reference: column(&row, "reference", on)?,
            placed_at: column(&row, "placed_at", on)?,
            settled_at: column(&row, "settled_at", on)?,
        })
    })
    .transpose()
}

/// The wallet's holds that were open at that version, oldest first; no more than [`MOST`].
pub(super) async fn open(
    pool: &PgPool,
    wallet: &WalletId,
    version: i64,
    currency: &str,
) -> Result<Vec<OpenHold>, StoreError> {
    let on = "reading the holds of a wallet";
    let rows = sqlx::query(concat!(
        "SELECT h.hold_id, h.amount, h.reference, ",
        rfc3339!("p.occurred_at"),
        " AS placed_at
         FROM wallet_holds AS h JOIN wallet_events AS p ON (p.wallet_id, p.version) = (h.wallet_id, h.placed)
         WHERE h.wallet_id = $1 AND h.placed <= $2 AND (h.settled IS NULL OR h.settled > $2)
         ORDER BY h.placed LIMIT $3"
    ))
    .bind(wallet.as_str())
    .bind(version)
    .bind(MOST)
    .fetch_all(pool)
    .await
    .map_err(StoreError::on(on))?;
    rows.iter()
        .map(|row| {
            Ok(OpenHold {
                hold_id: column(row, "hold_id", on)?,
                amount: decimal(column(row, "amount", on)?, currency)?,
                reference: column(row, "reference", on)?,
                placed_at: column(row, "placed_at", on)?,
            })
        })
        .collect()
}
