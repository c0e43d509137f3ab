//! Invariants 5, 7 and 8: what consumer groups make of the history, and put aside.

use uuid::Uuid;

use super::{aside, broken, entry, history};
use crate::{
    facts::{Aside, Facts, Place},
    invariants::{Account, Invariant, accounts, check},
};

#[test]
fn an_effect_of_an_event_that_is_not_on_the_topic_is_seen() {
    let (numbers, said) = broken(|facts| facts.ledger.push(entry(7, 99, "t1", "external", 0)));
    assert_eq!(numbers, [5], "{said}");
    assert!(said.contains("1 entries of the ledger are booked for event"), "{said}");
}

#[test]
fn an_event_that_was_booked_again_is_seen_though_the_books_balance() {
    let (numbers, said) = broken(|facts| {
        facts.ledger.extend([entry(7, 2, "t3", "ada", 1000), entry(8, 2, "t3", "external", -1000)]);
        facts.ledger.extend([entry(9, 4, "t4", "external", 1000), entry(10, 4, "t4", "ada", -1000)]);
    });
    assert_eq!(numbers, [4, 5, 8], "{said}");
    assert!(said.contains("MoneyDeposited of wallet ada version 2) is booked 2 times on its wallet"), "{said}");
}

#[test]
fn an_effect_that_the_ledger_says_it_had_and_that_is_not_there_is_seen() {
    let (numbers, said) = broken(|facts| facts.ledger.retain(|entry| entry.transaction != "t2"));
    assert_eq!(numbers, [4, 5, 7], "{said}");
    assert!(said.contains("MoneySent of wallet ada version 3) is booked 0 times"), "{said}");
    assert!(said.contains("passed the record at partition 1 offset 4"), "{said}");
}

#[test]
fn each_group_accounts_for_every_record_that_it_passed() {
    let account = |group: &str| Account { group: group.into(), accepted: 6, handled: 5, parked: 0, dead_lettered: 1 };
    assert_eq!(accounts(&history()), [account("ledger-projector"), account("read-model-projector")]);
}

#[test]
fn a_record_that_is_no_event_must_be_a_dead_letter_of_each_group_that_passed_it() {
    let (numbers, said) = broken(|facts| facts.groups[1].dead.clear());
    assert_eq!(numbers, [7], "{said}");
    let passed = "read-model-projector passed the record at partition 0 offset 7 (no event of a wallet) and neither";
    assert!(said.contains(passed), "{said}");

    let mut facts = history();
    facts.groups[1].dead.clear();
    facts.groups[1].next.insert(0, 7);
    assert_eq!(check(&facts), vec![], "it has not come to it yet");
}

#[test]
fn a_record_that_was_put_aside_twice_counts_once() {
    let (numbers, said) = broken(|facts| {
        let mut again = facts.groups[0].dead[0].clone();
        again.place.offset = 1;
        facts.groups[0].dead.push(again);
    });
    assert!(numbers.is_empty(), "{said}");
}

/// Bob's second event waits in the ledger's retry topic.
fn parked(facts: &mut Facts) {
    facts.ledger.retain(|entry| entry.event != Uuid::from_u128(5));
    facts.ledger_seen[1].version = 1;
    facts.groups[0].parked = vec![aside("bob", Place { partition: 1, offset: 3 }, Place { partition: 1, offset: 4 })];
}

#[test]
fn a_parked_record_is_accounted_for_as_long_as_it_is_not_finished() {
    let mut facts = history();
    parked(&mut facts);
    let account = &accounts(&facts)[0];
    assert_eq!((account.accepted, account.handled, account.parked, account.dead_lettered), (6, 4, 1, 1));
    assert_eq!(Invariant::NothingIsSkipped.violations(&facts), vec![]);

    facts.groups[0].unfinished.insert(1, 4);
    let found = Invariant::NothingIsSkipped.violations(&facts);
    assert_eq!(found.len(), 1, "the retry topic says that it is finished, and there is no trace of it: {found:?}");

    facts.groups[0].unfinished.clear();
    facts.groups[0].parked[0].control = Some("quarantine".into());
    let found = Invariant::NothingIsSkipped.violations(&facts);
    assert_eq!(found.len(), 1, "a word about a record is not the record: {found:?}");
}

#[test]
fn a_record_that_was_handled_and_made_a_dead_letter_is_seen_unless_it_was_redriven() {
    let place = Place { partition: 1, offset: 4 };
    let dead = |facts: &mut Facts| facts.groups[1].dead.push(aside("bob", Place { partition: 3, offset: 9 }, place));
    let (numbers, said) = broken(dead);
    assert_eq!(numbers, [7], "{said}");
    assert!(said.contains("read-model-projector handled the record at partition 1 offset 4"), "{said}");

    let (numbers, said) = broken(|facts| {
        dead(facts);
        let mut word = aside("bob", Place { partition: 1, offset: 0 }, place);
        word.control = Some("redrive".into());
        facts.groups[1].parked.push(word);
    });
    assert!(numbers.is_empty(), "{said}");

    let (numbers, said) = broken(|facts| {
        dead(facts);
        facts.groups[1].trimmed.insert(1, 3);
    });
    assert!(numbers.is_empty(), "the word may have been removed with what was finished: {said}");
}

#[test]
fn what_was_put_aside_without_having_been_there_is_seen() {
    let (numbers, said) = broken(|facts| {
        facts.groups[0].dead.push(aside("eve", Place { partition: 0, offset: 1 }, Place { partition: 0, offset: 8 }));
    });
    assert_eq!(numbers, [7], "{said}");
    assert!(said.contains("dead-lettered a record from partition 0 offset 8, where none lies"), "{said}");

    let (numbers, said) = broken(|facts| {
        facts.unattributed.push("the record of a topic at partition 0 offset 0 has no header".into());
    });
    assert_eq!(numbers, [7], "{said}");

    let mut facts = history();
    facts.groups[0].dead.push(aside("old", Place { partition: 4, offset: 1 }, Place { partition: 1, offset: 0 }));
    assert_eq!(check(&facts), vec![], "retention has cut off the beginning of the topic");
}

#[test]
fn bookings_of_a_wallet_in_another_order_than_the_topics_are_seen() {
    let (numbers, said) = broken(|facts| {
        facts.ledger[0].order = 8;
        facts.ledger[1].order = 9;
    });
    assert_eq!(numbers, [8], "{said}");
    assert!(said.contains("the ledger booked version 3 of wallet ada before version 2"), "{said}");
}

#[test]
fn records_of_a_key_that_were_put_aside_out_of_order_are_seen() {
    let at = |offset| Place { partition: 0, offset };
    for put in [
        |facts: &mut Facts, asides: Vec<Aside>| facts.groups[0].parked = asides,
        |facts: &mut Facts, asides: Vec<Aside>| facts.groups[0].dead.extend(asides),
    ] {
        let order = |origins: [i64; 3]| {
            let mut facts = history();
            put(&mut facts, (5..).zip(origins).map(|(offset, origin)| aside("ada", at(offset), at(origin))).collect());
            Invariant::OrderHolds.violations(&facts)
        };
        assert_eq!(order([0, 1, 3]), vec![]);
        assert_eq!(order([0, 1, 0]), vec![], "the second time of what was put aside twice");
        let found = order([0, 3, 1]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("key ada's record from partition 0 offset 3 before that from"), "{found:?}");
    }
}

#[test]
fn keys_do_not_wait_for_each_other_and_no_key_is_no_order() {
    let at = |offset| Place { partition: 0, offset };
    let mut facts = history();
    facts.groups[0].parked = vec![aside("ada", at(1), at(3)), aside("eve", at(2), at(1))];
    assert_eq!(Invariant::OrderHolds.violations(&facts), vec![]);
    facts.groups[0].parked.iter_mut().for_each(|aside| aside.key = None);
    assert_eq!(Invariant::OrderHolds.violations(&facts), vec![]);
}

#[test]
fn a_record_that_was_parked_in_another_partition_is_seen() {
    let mut facts = history();
    facts.groups[0].parked = vec![aside("ada", Place { partition: 1, offset: 0 }, Place { partition: 0, offset: 3 })];
    let found = Invariant::OrderHolds.violations(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("parked the record from partition 0 offset 3 in partition 1"), "{found:?}");
}
