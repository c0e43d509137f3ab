//! Invariant 5. The ledger is where an effect leaves a trace of its own: each event that moves money is booked once on its wallet,
//! with what balances it. A second effect on the other tables changes their balance, which is invariant 4's affair.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::facts::{AccountKind, Entry, Event, Facts, Projection};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let seen = facts.seen(Projection::Ledger);
    let mut booked: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    for entry in &facts.ledger {
        booked.entry(entry.event).or_default().push(entry);
    }
    let events: BTreeMap<Uuid, &Event> =
        facts.published.iter().map(|record| (record.event.id, &record.event)).collect();

    for (id, event) in &events {
        let entries = booked.remove(id).unwrap_or_default();
        // What the ledger has not come to yet has no effect yet.
        if seen.get(event.wallet.as_str()).is_some_and(|&version| version >= event.version) {
            once(event, &entries, &mut found);
        } else if !entries.is_empty() {
            found.push(format!("{} is booked, though the ledger has not come to it", name(event)));
        }
    }
    for (id, entries) in booked {
        found.push(format!(
            "{} entries of the ledger are booked for event {id}, which is not on the topic",
            entries.len()
        ));
    }
    found
}

fn once(event: &Event, entries: &[&Entry], found: &mut Vec<String>) {
    let on_the_wallet =
        entries.iter().filter(|entry| entry.kind == AccountKind::Wallet && entry.account == event.wallet).count();
    let elsewhere = entries.len() - on_the_wallet;
    let expected = usize::from(event.effect != 0);
    if on_the_wallet != expected || elsewhere != expected {
        found.push(format!(
            "{} is booked {on_the_wallet} times on its wallet and {elsewhere} times on the counter-account, not {expected} times",
            name(event)
        ));
    }
}

fn name(event: &Event) -> String {
    format!("event {} ({} of wallet {} version {})", event.id, event.kind, event.wallet, event.version)
}
