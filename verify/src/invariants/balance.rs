//! Invariant 1. Sums are taken in 128 bits, so that the checker itself cannot wrap.

use std::collections::BTreeMap;

use crate::facts::{AccountKind, Facts};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    unbalanced_transactions(facts, &mut found);
    money_in_transit(facts, &mut found);
    unbalanced_currencies(facts, &mut found);
    versions_of_wallets(facts, &mut found);
    if !facts.overdraft_allowed {
        negative_rows(facts, &mut found);
    }
    found
}

fn unbalanced_transactions(facts: &Facts, found: &mut Vec<String>) {
    let mut sums: BTreeMap<(&str, &str), i128> = BTreeMap::new();
    for entry in &facts.ledger {
        *sums.entry((&entry.transaction, &entry.currency)).or_default() += i128::from(entry.amount);
    }
    for ((transaction, currency), sum) in sums {
        if sum != 0 {
            found.push(format!("the ledger entries of transaction {transaction} sum to {sum} {currency}, not to zero"));
        }
    }
}

/// With everything applied, a transfer has left one wallet and entered another: nothing of it is in between.
fn money_in_transit(facts: &Facts, found: &mut Vec<String>) {
    let mut sums: BTreeMap<(&str, &str), i128> = BTreeMap::new();
    for entry in facts.ledger.iter().filter(|entry| entry.kind == AccountKind::Transit) {
        *sums.entry((&entry.transaction, &entry.currency)).or_default() += i128::from(entry.amount);
    }
    for ((transaction, currency), sum) in sums {
        if sum != 0 {
            found.push(format!("{sum} {currency} of transaction {transaction} never arrived"));
        }
    }
}

/// Wallets' balances, as commands see them, and the other accounts of the ledger: money that is in a wallet came from outside.
fn unbalanced_currencies(facts: &Facts, found: &mut Vec<String>) {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for balance in &facts.command_state {
        *sums.entry(&balance.currency).or_default() += i128::from(balance.amount);
    }
    for entry in facts.ledger.iter().filter(|entry| entry.kind != AccountKind::Wallet) {
        *sums.entry(&entry.currency).or_default() += i128::from(entry.amount);
    }
    for (currency, sum) in sums {
        if sum != 0 {
            found.push(format!("balances and external accounts sum to {sum} {currency}, not to zero"));
        }
    }
}

/// Every version of a wallet is a snapshot of it: what its event says is true, and what is available is not below zero.
fn versions_of_wallets(facts: &Facts, found: &mut Vec<String>) {
    for (wallet, events) in super::versions::by_wallet(facts.committed.iter()) {
        let (mut balance, mut held) = (0_i128, 0_i128);
        for event in events {
            balance += i128::from(event.effect);
            held += i128::from(event.reserve);
            let (currency, version) = (&event.currency, event.version);
            let mut wrong = |what: &str, is: i128, said: Option<i64>| {
                let said = said.map(i128::from).filter(|&said| said != is);
                if let Some(said) = said {
                    found.push(format!(
                        "wallet {wallet} {what} {is} {currency} in version {version}, which says {said}"
                    ));
                }
                said.is_some()
            };
            if wrong("was at", balance, event.balance) || wrong("held", held, event.held) {
                break;
            }
            if balance < 0 && !facts.overdraft_allowed {
                found.push(format!("wallet {wallet} was at {balance} {currency} in version {version}"));
                break;
            }
            if held < 0 || (balance < held && !facts.overdraft_allowed) {
                found.push(format!("wallet {wallet} held {held} of {balance} {currency} in version {version}"));
                break;
            }
        }
    }
}

/// And so is every row that shows a balance.
fn negative_rows(facts: &Facts, found: &mut Vec<String>) {
    for (table, rows) in [("read model", &facts.read_model), ("command state", &facts.command_state)] {
        for row in rows.iter().filter(|row| row.amount < 0) {
            found.push(format!("wallet {} is at {} {} in the {table}", row.wallet, row.amount, row.currency));
        }
    }
}
