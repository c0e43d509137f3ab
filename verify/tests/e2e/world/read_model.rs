//! The read model itself. Whoever asks the wallet's API for a wallet that is not in it is told what the command side has instead.

use sqlx::PgConnection;

use super::ensure;

/// The read model has a wallet so, with a balance of two decimals; or what it has instead.
pub async fn row_is(database: &mut PgConnection, wallet: &str, version: i64, balance: &str) -> Result<(), String> {
    let query = "SELECT version, round(balance / 100.0, 2)::text FROM wallet_read_model WHERE wallet_id = $1";
    let row: Option<(i64, String)> =
        sqlx::query_as(query).bind(wallet).fetch_optional(database).await.map_err(|error| error.to_string())?;
    let is = row.as_ref().is_some_and(|row| (row.0, row.1.as_str()) == (version, balance));
    ensure(is, || format!("{wallet} in the read model: {row:?}"))
}
