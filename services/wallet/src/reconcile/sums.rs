//! The sums and comparisons, by the database, in the caller's snapshot.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row, postgres::PgRow};
use tidegate_contracts::Currency;

use super::report::{CurrencySums, Differing, Wallets};
use crate::error::StoreError;

const DOING: &str = "reconciling";

/// Each wallet once, with what everybody says of it. Amounts of events are read as they are written: with all decimals of the
/// currency, so that the digits are the minor units.
const COMPARED: &str = "
  WITH effects AS (
    SELECT wallet_id, version,
      CASE WHEN event_type IN ('MoneyDeposited', 'TransferReceived') THEN amount
           WHEN event_type IN ('MoneyWithdrawn', 'TransferSent', 'HoldCaptured') THEN -amount
           ELSE 0 END AS balance,
      CASE event_type WHEN 'FundsHeld' THEN amount WHEN 'HoldReleased' THEN -amount
                      WHEN 'HoldCaptured' THEN -amount - released ELSE 0 END AS held
    FROM wallet_events, LATERAL (
      SELECT coalesce(replace(data ->> 'amount', '.', '')::bigint, 0) AS amount,
             coalesce(replace(data ->> 'released', '.', '')::bigint, 0) AS released) AS moved),
  folded AS (
    SELECT e.wallet_id, max(e.version) AS version, count(*) AS events, sum(e.balance) AS balance, sum(e.held) AS held,
      coalesce(sum(e.balance) FILTER (WHERE e.version <= r.version), 0) AS shown,
      coalesce(sum(e.held) FILTER (WHERE e.version <= r.version), 0) AS shown_held,
      coalesce(sum(e.balance) FILTER (WHERE e.version <= l.version), 0) AS booked
    FROM effects AS e LEFT JOIN wallet_read_model AS r USING (wallet_id) LEFT JOIN ledger_watermarks AS l USING (wallet_id)
    GROUP BY e.wallet_id),
  booked AS (
    SELECT account AS wallet_id, sum(amount) AS balance FROM ledger_entries WHERE account_kind = 'Wallet' GROUP BY account),
  on_hold AS (
    SELECT wallet_id, sum(amount) AS held FROM wallet_holds WHERE settled IS NULL GROUP BY wallet_id),
  compared AS (
    SELECT wallet_id, coalesce(s.currency, r.currency, 'XXX') AS currency,
      coalesce(s.balance, 0) AS state, coalesce(s.held, 0) AS held, coalesce(f.balance, 0) AS events,
      coalesce(r.balance, 0) AS shown, coalesce(f.shown, 0) AS events_shown,
      coalesce(g.balance, 0) AS booked, coalesce(f.booked, 0) AS events_booked,
      coalesce(s.version, 0) - coalesce(l.version, 0) AS ledger_behind,
      coalesce(s.version, 0) - coalesce(r.version, 0) AS read_model_behind,
      array_remove(ARRAY[
        CASE WHEN (s.version, s.version, s.balance, s.held) IS DISTINCT FROM (f.version, f.events, f.balance, f.held)
             THEN 'State' END,
        CASE WHEN coalesce(h.held, 0) <> coalesce(s.held, 0) THEN 'Holds' END,
        CASE WHEN coalesce(r.version, 0) > coalesce(s.version, 0) OR coalesce(r.balance, 0) <> coalesce(f.shown, 0)
               OR coalesce(r.held, 0) <> coalesce(f.shown_held, 0) THEN 'ReadModel' END,
        CASE WHEN coalesce(l.version, 0) > coalesce(s.version, 0) OR coalesce(g.balance, 0) <> coalesce(f.booked, 0)
             THEN 'Ledger' END], NULL) AS who
    FROM wallet_state AS s FULL JOIN folded AS f USING (wallet_id) FULL JOIN wallet_read_model AS r USING (wallet_id)
      FULL JOIN ledger_watermarks AS l USING (wallet_id) FULL JOIN booked AS g USING (wallet_id)
      FULL JOIN on_hold AS h USING (wallet_id))";

/// Wallet by wallet, and beside it the sums of each currency.
pub struct Compared {
    /// What differs.
    pub wallets: Wallets,
    sums: BTreeMap<String, PgRow>,
}

/// Compares what is said of each wallet; the first `named` of those that differ are named.
pub async fn wallets(connection: &mut PgConnection, named: usize) -> Result<Compared, StoreError> {
    // One row a currency, so that the comparison is made once for the sums and the names.
    let query = format!(
        "{COMPARED}
         SELECT currency, count(*) AS wallets, sum(state)::text AS state, sum(held)::text AS held, sum(events)::text AS events,
           sum(shown)::text AS shown, sum(events_shown)::text AS events_shown, sum(booked)::text AS booked,
           sum(events_booked)::text AS events_booked, sum(greatest(ledger_behind, 0))::bigint AS ledger_behind,
           sum(greatest(read_model_behind, 0))::bigint AS read_model_behind,
           count(*) FILTER (WHERE who <> '{{}}') AS differing,
           coalesce((array_agg(wallet_id ORDER BY wallet_id) FILTER (WHERE who <> '{{}}'))[1:$1], '{{}}') AS differing_wallets,
           coalesce((array_agg(array_to_string(who, ',') ORDER BY wallet_id) FILTER (WHERE who <> '{{}}'))[1:$1], '{{}}')
             AS differing_who
         FROM compared GROUP BY currency"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(i32::try_from(named).unwrap_or(i32::MAX))
        .fetch_all(connection)
        .await
        .map_err(StoreError::on(DOING))?;
    let mut compared = Compared { wallets: Wallets::default(), sums: BTreeMap::new() };
    for row in rows {
        let wallets = &mut compared.wallets;
        wallets.checked += get::<i64>(&row, "wallets")?;
        wallets.ledger_behind_events += get::<i64>(&row, "ledger_behind")?;
        wallets.read_model_behind_events += get::<i64>(&row, "read_model_behind")?;
        wallets.differing += get::<i64>(&row, "differing")?;
        let names = get::<Vec<String>>(&row, "differing_wallets")?;
        let who = get::<Vec<String>>(&row, "differing_who")?;
        wallets.first.extend(
            names
                .into_iter()
                .zip(who)
                .map(|(wallet_id, who)| Differing { wallet_id, who: who.split(',').map(str::to_owned).collect() }),
        );
        wallets.first.truncate(named);
        compared.sums.insert(get(&row, "currency")?, row);
    }
    Ok(compared)
}

/// The sums of each currency, with what the ledger has on its own accounts.
pub async fn currencies(connection: &mut PgConnection, compared: &Compared) -> Result<Vec<CurrencySums>, StoreError> {
    let rows = sqlx::query(
        "SELECT currency,
           coalesce(sum(amount) FILTER (WHERE account_kind = 'External'), 0)::text AS external,
           coalesce(sum(amount) FILTER (WHERE account_kind = 'Transit'), 0)::text AS transit,
           coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::text AS credits,
           coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::text AS debits
         FROM ledger_entries GROUP BY currency",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::on(DOING))?;
    let mut ledger = BTreeMap::new();
    for row in rows {
        ledger.insert(get::<String>(&row, "currency")?, row);
    }
    let mut codes: Vec<&String> = compared.sums.keys().chain(ledger.keys()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
        .into_iter()
        .map(|code| {
            let money = |row: Option<&PgRow>, name: &str| match row {
                Some(row) => decimal(&get::<String>(row, name)?, code),
                None => decimal("0", code),
            };
            let (sums, ledger) = (compared.sums.get(code), ledger.get(code));
            Ok(CurrencySums {
                currency: code.clone(),
                wallets: sums.map(|row| get(row, "wallets")).transpose()?.unwrap_or(0),
                events: money(sums, "events")?,
                balances: money(sums, "state")?,
                held: money(sums, "held")?,
                read_model: money(sums, "shown")?,
                events_in_read_model: money(sums, "events_shown")?,
                ledger: money(sums, "booked")?,
                events_in_ledger: money(sums, "events_booked")?,
                external: money(ledger, "external")?,
                transit: money(ledger, "transit")?,
                credits: money(ledger, "credits")?,
                debits: money(ledger, "debits")?,
            })
        })
        .collect()
}

fn get<'r, T>(row: &'r PgRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(StoreError::on(DOING))
}

/// A sum of minor units, which may be more than 64 bits count, as a decimal number. A currency that is not known has no decimals.
fn decimal(units: &str, code: &str) -> Result<String, StoreError> {
    let exponent = code.parse::<Currency>().map_or(0, |currency| u32::from(currency.exponent()));
    let units: i128 =
        units.parse().map_err(|_| StoreError::Unreadable { what: "a sum of minor units", value: units.to_owned() })?;
    let (sign, units) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
    Ok(match exponent {
        0 => format!("{sign}{units}"),
        exponent => {
            let one = 10_u128.pow(exponent);
            format!("{sign}{}.{:0width$}", units / one, units % one, width = exponent as usize)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn sums_are_written_with_the_decimals_of_their_currency() {
        for (units, code, written) in [
            ("1234", "EUR", "12.34"),
            ("-5", "EUR", "-0.05"),
            ("0", "KWD", "0.000"),
            ("700", "JPY", "700"),
            ("92233720368547758070", "EUR", "922337203685477580.70"),
        ] {
            assert_eq!(decimal(units, code).unwrap(), written);
        }
    }
}
