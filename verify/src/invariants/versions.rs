//! Invariant 3: in the event store, on the topic in the order of its partitions, and in the tables that hold a row a wallet.

use std::collections::BTreeMap;

use crate::facts::{Balance, Event, Facts, Published};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let committed = by_wallet(facts.committed.iter());
    for (wallet, events) in &committed {
        gapless(&format!("the event store's wallet {wallet}"), events, &mut found);
    }
    topic(&facts.published, &mut found);
    let rows = |balances: &[Balance]| balances.iter().map(|row| (row.wallet.clone(), row.version)).collect();
    let ledger = facts.ledger_seen.iter().map(|row| (row.wallet.clone(), row.version)).collect();
    for (table, versions) in
        [("read model", rows(&facts.read_model)), ("command state", rows(&facts.command_state)), ("ledger", ledger)]
    {
        last_versions(table, &versions, &committed, &mut found);
    }
    found
}

/// Each wallet of the event store is in the table, at its last version.
fn last_versions(
    table: &str,
    versions: &BTreeMap<String, i64>,
    committed: &BTreeMap<&str, Vec<&Event>>,
    found: &mut Vec<String>,
) {
    for (wallet, events) in committed {
        let last = events.last().map_or(0, |event| event.version);
        let seen = versions.get(*wallet).copied().unwrap_or(0);
        if seen != last {
            found.push(format!("wallet {wallet} is at version {seen} in the {table} and at {last} in the event store"));
        }
    }
    for (wallet, version) in versions.iter().filter(|(wallet, _)| !committed.contains_key(wallet.as_str())) {
        found.push(format!("wallet {wallet} is at version {version} in the {table} but not in the event store"));
    }
}

/// Events of each wallet, by version.
pub(super) fn by_wallet<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeMap<&'a str, Vec<&'a Event>> {
    let mut wallets: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        wallets.entry(&event.wallet).or_default().push(event);
    }
    for events in wallets.values_mut() {
        events.sort_by_key(|event| event.version);
    }
    wallets
}

fn gapless(whose: &str, events: &[&Event], found: &mut Vec<String>) {
    for (expected, event) in (1..).zip(events) {
        if event.version != expected {
            found.push(format!("{whose} has version {} where {expected} belongs", event.version));
            return;
        }
    }
}

/// The topic is judged in the order that a consumer reads it, and a wallet's records lie in one partition.
fn topic(published: &[Published], found: &mut Vec<String>) {
    let mut order: Vec<&Published> = published.iter().collect();
    order.sort_by_key(|record| record.place);
    let mut wallets: BTreeMap<&str, Vec<&Published>> = BTreeMap::new();
    for record in order {
        if record.key != record.event.wallet {
            found.push(format!(
                "the record at {} has key {}, but is of wallet {}",
                record.place, record.key, record.event.wallet
            ));
        }
        wallets.entry(&record.event.wallet).or_default().push(record);
    }
    for (wallet, records) in wallets {
        let first = records[0].place.partition;
        if let Some(other) = records.iter().find(|record| record.place.partition != first) {
            found.push(format!("wallet {wallet} has records in partitions {first} and {}", other.place.partition));
        }
        let events: Vec<&Event> = records.iter().map(|record| &record.event).collect();
        gapless(&format!("the topic's wallet {wallet}"), &events, found);
    }
}
