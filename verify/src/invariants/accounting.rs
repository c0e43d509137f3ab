//! Invariant 7. Each record that a group has passed on the topic is found again, exactly once, as an effect, in the retry topic or in
//! the dead-letter topic. A record is told from others by (group, topic, partition, offset): one that was put aside twice, because
//! a crash came between putting it aside and saying so, counts once.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::facts::{AccountKind, Aside, Event, Facts, Group, Place, Projection};

/// What became of the records that a group has passed. The first number is the sum of the others, or invariant 7 is violated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The group.
    pub group: String,
    /// Records of the topic that lie before the group's next offset.
    pub accepted: usize,
    /// Those whose effect is in the projection.
    pub handled: usize,
    /// Those that wait in the retry topic.
    pub parked: usize,
    /// Those that are dead letters.
    pub dead_lettered: usize,
}

/// The account of each group.
pub fn accounts(facts: &Facts) -> Vec<Account> {
    facts.groups.iter().map(|group| account(facts, group, &mut Vec::new())).collect()
}

pub(super) fn violations(facts: &Facts) -> Vec<String> {
    let mut found = facts.unattributed.clone();
    for group in &facts.groups {
        account(facts, group, &mut found);
        made_up(facts, group, &mut found);
    }
    found
}

fn account(facts: &Facts, group: &Group, found: &mut Vec<String>) -> Account {
    let handled = Handled::of(facts, group.projection);
    let dead: BTreeSet<Place> = group.dead.iter().map(|letter| letter.origin).collect();
    let redriven: BTreeSet<Place> = words(group, "redrive").collect();
    let waiting: BTreeSet<Place> = waiting(group).map(|record| record.origin).collect();

    let mut account = Account { group: group.name.clone(), accepted: 0, handled: 0, parked: 0, dead_lettered: 0 };
    for (place, event) in records(facts) {
        if group.next.get(&place.partition).is_none_or(|&next| place.offset >= next) {
            continue;
        }
        account.accepted += 1;
        let handled = event.is_some_and(|event| handled.has(event));
        // Where the beginning of the retry partition is gone, a redrive may be gone with it.
        let may_be_redriven =
            redriven.contains(&place) || group.trimmed.get(&place.partition).is_some_and(|&at| at > 0);
        if handled && dead.contains(&place) && !may_be_redriven {
            found.push(format!("group {} handled {}, and made a dead letter of it", group.name, name(place, event)));
        }
        match () {
            () if handled => account.handled += 1,
            () if dead.contains(&place) => account.dead_lettered += 1,
            () if waiting.contains(&place) => account.parked += 1,
            () => found.push(format!(
                "group {} passed {} and neither handled nor parked nor dead-lettered it",
                group.name,
                name(place, event)
            )),
        }
    }
    account
}

/// Records that were put aside without ever having been in the topic; what retention has cut off is not held against them.
fn made_up(facts: &Facts, group: &Group, found: &mut Vec<String>) {
    let mut topic: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for (place, _) in records(facts) {
        topic.entry(place.partition).or_default().insert(place.offset);
    }
    let is_known = |origin: Place| {
        topic.get(&origin.partition).is_some_and(|offsets| {
            offsets.contains(&origin.offset) || offsets.first().is_some_and(|&first| origin.offset < first)
        })
    };
    for (what, asides) in [("parked", &group.parked), ("dead-lettered", &group.dead)] {
        for aside in asides.iter().filter(|aside| !is_known(aside.origin)) {
            found.push(format!("group {} {what} a record from {}, where none lies", group.name, aside.origin));
        }
    }
}

/// Records of the retry topic that are not finished, as far as Kafka knows.
fn waiting(group: &Group) -> impl Iterator<Item = &Aside> {
    group.parked.iter().filter(|record| {
        let finished = group.unfinished.get(&record.place.partition).is_some_and(|&first| record.place.offset < first);
        record.control.is_none() && !finished
    })
}

fn words<'a>(group: &'a Group, word: &'a str) -> impl Iterator<Item = Place> + 'a {
    group.parked.iter().filter(move |record| record.control.as_deref() == Some(word)).map(|record| record.origin)
}

fn records(facts: &Facts) -> impl Iterator<Item = (Place, Option<&Event>)> {
    let events = facts.published.iter().map(|record| (record.place, Some(&record.event)));
    events.chain(facts.foreign.iter().map(|record| (record.place, None)))
}

fn name(place: Place, event: Option<&Event>) -> String {
    match event {
        Some(event) => {
            format!("the record at {place} ({} of wallet {} version {})", event.kind, event.wallet, event.version)
        }
        None => format!("the record at {place} (no event of a wallet)"),
    }
}

/// Which events have had their effect on a projection.
struct Handled<'a> {
    seen: BTreeMap<&'a str, i64>,
    /// Events that are booked on their wallet; none for a projection that books nothing.
    booked: Option<BTreeSet<Uuid>>,
}

impl<'a> Handled<'a> {
    fn of(facts: &'a Facts, projection: Projection) -> Self {
        let booked = || facts.ledger.iter().filter(|entry| entry.kind == AccountKind::Wallet).map(|entry| entry.event);
        Self { seen: facts.seen(projection), booked: (projection == Projection::Ledger).then(|| booked().collect()) }
    }

    fn has(&self, event: &Event) -> bool {
        match &self.booked {
            Some(booked) if event.effect != 0 => booked.contains(&event.id),
            _ => self.seen.get(event.wallet.as_str()).is_some_and(|&version| event.version <= version),
        }
    }
}
