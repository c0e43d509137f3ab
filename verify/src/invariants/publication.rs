//! Invariant 2, by event id; an event that is in both places must also say the same in both.

use std::collections::BTreeMap;

use crate::facts::{Event, Facts};

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let committed: BTreeMap<_, &Event> = facts.committed.iter().map(|event| (event.id, event)).collect();
    let mut times: BTreeMap<_, u32> = BTreeMap::new();

    for record in &facts.published {
        let place = record.place;
        let event = &record.event;
        *times.entry(event.id).or_default() += 1;
        match committed.get(&event.id) {
            None => found.push(format!(
                "event {} ({} of wallet {} version {}) at {place} was published but never committed",
                event.id, event.kind, event.wallet, event.version
            )),
            Some(stored) if *stored != event => found
                .push(format!("event {} at {place} says {event:?}, but what was committed says {stored:?}", event.id)),
            Some(_) => {}
        }
    }
    for (id, event) in &committed {
        match times.get(id) {
            None => found.push(format!(
                "event {id} ({} of wallet {} version {}) was committed but is not on the topic",
                event.kind, event.wallet, event.version
            )),
            Some(1) => {}
            Some(times) => found.push(format!("event {id} of wallet {} is on the topic {times} times", event.wallet)),
        }
    }
    found
}
