//! Invariant 3: in the event store, on the topic in the order of its partitions, and in both tables that hold a row a wallet.

use std::collections::BTreeMap;

use crate::facts::{Event, Facts, Published};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let committed = by_wallet(facts.committed.iter());
    for (wallet, events) in &committed {
        gapless(&format!("the event store's wallet {wallet}"), events, &mut found);
    }
    topic(&facts.published, &mut found);
    for (table, rows) in [("read model", &facts.read_model), ("command state", &facts.command_state)] {
        for row in rows {
            let last = committed.get(row.wallet.as_str()).and_then(|events| events.last()).map_or(0, |e| e.version);
            if row.version != last {
                found.push(format!(
                    "wallet {} is at version {} in the {table} and at {last} in the event store",
                    row.wallet, row.version
                ));
            }
        }
    }
    found
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
    order.sort_by_key(|record| (record.partition, record.offset));
    let mut wallets: BTreeMap<&str, Vec<&Published>> = BTreeMap::new();
    for record in order {
        if record.key != record.event.wallet {
            found.push(format!(
                "the record at partition {} offset {} has key {}, but is of wallet {}",
                record.partition, record.offset, record.key, record.event.wallet
            ));
        }
        wallets.entry(&record.event.wallet).or_default().push(record);
    }
    for (wallet, records) in wallets {
        let first = records[0].partition;
        if let Some(other) = records.iter().find(|record| record.partition != first) {
            found.push(format!("wallet {wallet} has records in partitions {first} and {}", other.partition));
        }
        let events: Vec<&Event> = records.iter().map(|record| &record.event).collect();
        gapless(&format!("the topic's wallet {wallet}"), &events, found);
    }
}
