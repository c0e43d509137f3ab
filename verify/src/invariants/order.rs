//! Invariant 8. What a key's records leave behind is in the order of the topic: the entries of a wallet in the order of their booking,
//! the records of a key in a retry topic, and its dead letters. What was put aside twice counts from its first time.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Aside, Facts, Group, Place};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    bookings(facts, &mut found);
    for group in &facts.groups {
        let parked = || group.parked.iter().filter(|record| record.control.is_none());
        for record in parked().filter(|record| record.place.partition != record.origin.partition) {
            found.push(format!(
                "group {} parked the record from {} in partition {}",
                group.name, record.origin, record.place.partition
            ));
        }
        put_aside(group, "parked", parked(), &mut found);
        put_aside(group, "dead-lettered", group.dead.iter(), &mut found);
    }
    found
}

fn bookings(facts: &Facts, found: &mut Vec<String>) {
    let places: BTreeMap<_, _> =
        facts.published.iter().map(|record| (record.event.id, (record.place, &record.event))).collect();
    let mut entries: Vec<_> = facts.ledger.iter().collect();
    entries.sort_by_key(|entry| entry.order);
    let mut last: BTreeMap<&str, (Place, i64)> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for entry in entries {
        let Some(&(place, event)) = places.get(&entry.event) else { continue };
        let before = last.insert(&event.wallet, (place, event.version));
        if let Some((earlier, version)) = before
            && earlier > place
            && named.insert(&event.wallet)
        {
            found.push(format!(
                "the ledger booked version {version} of wallet {} before version {}",
                event.wallet, event.version
            ));
        }
    }
}

/// Keys stay in their partition, so that the order of the places is the order of the records. A record without a key has none.
fn put_aside<'a>(group: &Group, what: &str, asides: impl Iterator<Item = &'a Aside>, found: &mut Vec<String>) {
    let mut asides: Vec<&Aside> = asides.filter(|aside| aside.key.is_some()).collect();
    asides.sort_by_key(|aside| aside.place);
    let mut origins = BTreeSet::new();
    let mut last: BTreeMap<_, Place> = BTreeMap::new();
    for aside in asides.into_iter().filter(|aside| origins.insert(aside.origin)) {
        if let Some(earlier) = last.insert((&aside.key, aside.origin.partition), aside.origin)
            && earlier > aside.origin
        {
            let key = String::from_utf8_lossy(aside.key.as_deref().unwrap_or_default());
            found.push(format!(
                "group {} {what} key {key}'s record from {earlier} before that from {}",
                group.name, aside.origin
            ));
        }
    }
}
