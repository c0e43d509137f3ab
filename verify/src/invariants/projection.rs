//! Invariant 4: the read model, the ledger's wallets and the balances that commands decide on, each against the fold of the topic.

use std::collections::BTreeMap;

use crate::facts::{AccountKind, Balance, Facts};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let fold = fold(facts);
    rows("read model", &facts.read_model, &fold, &mut found);
    rows("command state", &facts.command_state, &fold, &mut found);
    ledger(facts, &fold, &mut found);
    found
}

/// Each wallet's version, currency and balance as the log makes them. Versions are added as their greatest: their order is
/// invariant 3's affair.
fn fold(facts: &Facts) -> BTreeMap<&str, Balance> {
    let mut wallets: BTreeMap<&str, Balance> = BTreeMap::new();
    for event in facts.published.iter().map(|record| &record.event) {
        let wallet = wallets.entry(&event.wallet).or_insert_with(|| Balance {
            wallet: event.wallet.clone(),
            version: 0,
            currency: event.currency.clone(),
            amount: 0,
            held: 0,
        });
        wallet.version = wallet.version.max(event.version);
        wallet.amount = wallet.amount.saturating_add(event.effect);
        wallet.held = wallet.held.saturating_add(event.reserve);
    }
    wallets
}

fn rows(table: &str, rows: &[Balance], fold: &BTreeMap<&str, Balance>, found: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, &Balance> = BTreeMap::new();
    for row in rows {
        if seen.insert(&row.wallet, row).is_some() {
            found.push(format!("wallet {} has two rows in the {table}", row.wallet));
        }
        match fold.get(row.wallet.as_str()) {
            None => found.push(format!("wallet {} is in the {table} but not in the log", row.wallet)),
            Some(expected) if expected != row => found.push(format!(
                "wallet {} is at {} in the {table}; the log makes it {}",
                row.wallet,
                describe(row),
                describe(expected)
            )),
            Some(_) => {}
        }
    }
    for wallet in fold.keys().filter(|wallet| !seen.contains_key(*wallet)) {
        found.push(format!("wallet {wallet} is in the log but not in the {table}"));
    }
}

fn describe(row: &Balance) -> String {
    let held = if row.held == 0 { String::new() } else { format!("{} of it held, ", row.held) };
    format!("{} {} ({held}version {})", row.amount, row.currency, row.version)
}

/// For each wallet and transaction, what the ledger books is what the log says moved.
fn ledger(facts: &Facts, fold: &BTreeMap<&str, Balance>, found: &mut Vec<String>) {
    let mut moved: BTreeMap<(&str, &str), (i128, i128)> = BTreeMap::new();
    for event in facts.published.iter().map(|record| &record.event).filter(|event| event.effect != 0) {
        let transaction = event.transaction.as_deref().unwrap_or("(none)");
        moved.entry((&event.wallet, transaction)).or_default().0 += i128::from(event.effect);
    }
    for entry in facts.ledger.iter().filter(|entry| entry.kind == AccountKind::Wallet) {
        if !fold.contains_key(entry.account.as_str()) {
            found.push(format!("the ledger books on wallet {}, which is not in the log", entry.account));
        }
        moved.entry((&entry.account, &entry.transaction)).or_default().1 += i128::from(entry.amount);
    }
    for ((wallet, transaction), (log, booked)) in moved {
        if log != booked {
            found.push(format!(
                "transaction {transaction} moves {log} on wallet {wallet} by the log, but {booked} by the ledger"
            ));
        }
    }
}
