//! A small history that holds, and one way to break it for each thing that a checker claims to see.

mod groups;

use uuid::Uuid;

use super::*;
use crate::facts::{AccountKind, Aside, Balance, Entry, Event, Foreign, Group, Place, Projection, Published, Seen};

fn event(id: u128, wallet: &str, version: i64, kind: &str, effect: i64, transaction: Option<&str>) -> Event {
    Event {
        id: Uuid::from_u128(id),
        wallet: wallet.into(),
        version,
        kind: kind.into(),
        currency: "EUR".into(),
        effect,
        reserve: 0,
        balance: None,
        held: None,
        transaction: transaction.map(Into::into),
    }
}

fn entry(order: i64, event: u128, transaction: &str, account: &str, amount: i64) -> Entry {
    Entry {
        event: Uuid::from_u128(event),
        order,
        transaction: transaction.into(),
        account: account.into(),
        kind: match account {
            "external" => AccountKind::External,
            "transit" => AccountKind::Transit,
            _ => AccountKind::Wallet,
        },
        currency: "EUR".into(),
        amount,
    }
}

fn row(wallet: &str, version: i64, amount: i64) -> Balance {
    Balance { wallet: wallet.into(), version, currency: "EUR".into(), amount, held: 0 }
}

/// Where a record lies that is no event: both groups have made a dead letter of it.
const POISON: Place = Place { partition: 0, offset: 7 };

fn group(name: &str, projection: Projection) -> Group {
    Group {
        name: name.into(),
        projection,
        next: [(0, 8), (1, 5)].into(),
        parked: vec![],
        trimmed: [(0, 0), (1, 0)].into(),
        unfinished: [].into(),
        dead: vec![aside("eve", Place { partition: 0, offset: 0 }, POISON)],
    }
}

fn aside(key: &str, place: Place, origin: Place) -> Aside {
    Aside { place, key: Some(key.into()), origin, control: None }
}

/// Ada gets 10.00 from outside and sends 4.00 of it to Bob. Somebody else's record lies among the events.
fn history() -> Facts {
    let committed = vec![
        event(1, "ada", 1, "WalletOpened", 0, None),
        event(2, "ada", 2, "MoneyDeposited", 1000, Some("t1")),
        event(3, "bob", 1, "WalletOpened", 0, None),
        event(4, "ada", 3, "MoneySent", -400, Some("t2")),
        event(5, "bob", 2, "MoneyReceived", 400, Some("t2")),
    ];
    let published = committed
        .iter()
        .zip(0..)
        .map(|(event, offset)| Published {
            place: Place { partition: i32::from(event.wallet == "bob"), offset },
            key: event.wallet.clone(),
            event: event.clone(),
        })
        .collect();
    Facts {
        committed,
        published,
        foreign: vec![Foreign { place: POISON, key: Some(b"eve".to_vec()), why: "no JSON".into() }],
        groups: vec![
            group("ledger-projector", Projection::Ledger),
            group("read-model-projector", Projection::ReadModel),
        ],
        ledger: vec![
            entry(1, 2, "t1", "ada", 1000),
            entry(2, 2, "t1", "external", -1000),
            entry(3, 5, "t2", "bob", 400),
            entry(4, 5, "t2", "transit", -400),
            entry(5, 4, "t2", "ada", -400),
            entry(6, 4, "t2", "transit", 400),
        ],
        ledger_seen: vec![Seen { wallet: "ada".into(), version: 3 }, Seen { wallet: "bob".into(), version: 2 }],
        read_model: vec![row("ada", 3, 600), row("bob", 2, 400)],
        command_state: vec![row("ada", 3, 600), row("bob", 2, 400)],
        ..Facts::default()
    }
}

/// The invariants that a broken history violates, and all that is said about them.
fn broken(breaking: impl FnOnce(&mut Facts)) -> (Vec<u8>, String) {
    let mut facts = history();
    breaking(&mut facts);
    let found = check(&facts);
    let mut numbers: Vec<u8> = found.iter().map(|violation| violation.invariant.number()).collect();
    numbers.dedup();
    (numbers, found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_history_that_holds_violates_nothing() {
    assert_eq!(check(&history()), vec![]);
}

#[test]
fn money_from_nowhere_is_seen_in_the_transaction_and_in_the_sum() {
    let (numbers, said) = broken(|facts| facts.ledger[1].amount = -999);
    assert_eq!(numbers, [1]);
    assert!(said.contains("transaction t1 sum to 1 EUR"), "{said}");
    assert!(said.contains("external accounts sum to 1 EUR"), "{said}");
}

#[test]
fn a_transfer_that_left_one_wallet_and_never_reached_the_other_is_seen_though_the_books_balance() {
    let (numbers, said) = broken(|facts| facts.ledger.retain(|entry| entry.event != Uuid::from_u128(5)));
    assert_eq!(numbers, [1, 4, 5, 7], "{said}");
    assert!(said.contains("400 EUR of transaction t2 never arrived"), "{said}");
}

#[test]
fn an_overdraft_is_seen_though_a_later_deposit_covers_it() {
    let (numbers, said) = broken(|facts| {
        // The 4.00 leave before the 10.00 arrive.
        for events in [&mut facts.committed[1], &mut facts.published[1].event] {
            events.version = 3;
        }
        for events in [&mut facts.committed[3], &mut facts.published[3].event] {
            events.version = 2;
        }
        facts.published.swap(1, 3);
        facts.published[1].place.offset = 1;
        facts.published[3].place.offset = 3;
        (facts.ledger[0].order, facts.ledger[1].order) = (7, 8);
    });
    assert_eq!(numbers, [1], "{said}");
    assert!(said.contains("wallet ada was at -400 EUR in version 2"), "{said}");
}

#[test]
fn an_event_that_says_another_balance_than_its_wallet_had_is_seen() {
    let (numbers, said) = broken(|facts| {
        for event in [&mut facts.committed[3], &mut facts.published[3].event] {
            event.balance = Some(601);
        }
    });
    assert_eq!(numbers, [1], "{said}");
    assert!(said.contains("wallet ada was at 600 EUR in version 3, which says 601"), "{said}");
}

#[test]
fn a_negative_balance_is_no_overdraft_where_overdrafts_are_allowed() {
    let mut facts = history();
    facts.overdraft_allowed = true;
    for event in [&mut facts.committed[1], &mut facts.published[1].event] {
        event.effect = 100;
    }
    facts.ledger[0].amount = 100;
    facts.ledger[1].amount = -100;
    facts.read_model[0].amount = -300;
    facts.command_state[0].amount = -300;
    assert_eq!(check(&facts), vec![]);

    facts.overdraft_allowed = false;
    assert_eq!(check(&facts).len(), 3, "in version 3, in the read model and in the command state");
}

/// Bob's last event sets aside so much of his 4.00.
fn on_hold(facts: &mut Facts, reserve: i64) {
    let hold = Event { reserve, held: Some(reserve), ..event(6, "bob", 3, "FundsHeld", 0, None) };
    facts.published.push(Published {
        place: Place { partition: 1, offset: 9 },
        key: "bob".into(),
        event: hold.clone(),
    });
    facts.committed.push(hold);
    facts.ledger_seen[1].version = 3;
    for rows in [&mut facts.read_model, &mut facts.command_state] {
        (rows[1].version, rows[1].held) = (3, reserve);
    }
}

#[test]
fn what_is_on_hold_is_part_of_the_balance_and_never_more_than_it() {
    let (numbers, said) = broken(|facts| on_hold(facts, 400));
    assert!(numbers.is_empty(), "{said}");

    let (numbers, said) = broken(|facts| on_hold(facts, 401));
    assert_eq!(numbers, [1], "{said}");
    assert!(said.contains("wallet bob held 401 of 400 EUR in version 3"), "{said}");

    let (numbers, said) = broken(|facts| on_hold(facts, -1));
    assert_eq!(numbers, [1], "{said}");

    let (numbers, said) = broken(|facts| {
        on_hold(facts, 400);
        facts.committed[5].held = Some(399);
        facts.published[5].event.held = Some(399);
    });
    assert_eq!(numbers, [1], "{said}");
    assert!(said.contains("wallet bob held 400 EUR in version 3, which says 399"), "{said}");

    let (numbers, said) = broken(|facts| {
        on_hold(facts, 400);
        facts.read_model[1].held = 0;
    });
    assert_eq!(numbers, [4], "{said}");
    assert!(said.contains("the log makes it 400 EUR (400 of it held, version 3)"), "{said}");
}

#[test]
fn a_lost_event_is_named() {
    let (numbers, said) = broken(|facts| drop(facts.published.remove(4)));
    assert_eq!(numbers, [2, 4, 5], "{said}");
    assert!(said.contains("MoneyReceived of wallet bob version 2) was committed but is not on the topic"), "{said}");
}

#[test]
fn an_event_that_nobody_committed_is_named() {
    let (numbers, said) = broken(|facts| drop(facts.committed.remove(4)));
    assert!(numbers.contains(&2), "{said}");
    assert!(said.contains("at partition 1 offset 4 was published but never committed"), "{said}");
}

#[test]
fn an_event_published_twice_is_counted() {
    let (numbers, said) = broken(|facts| {
        let mut again = facts.published[1].clone();
        again.place.offset = 9;
        facts.published.push(again);
    });
    assert!(numbers.contains(&2) && numbers.contains(&3), "{said}");
    assert!(said.contains("of wallet ada is on the topic 2 times"), "{said}");
}

#[test]
fn an_event_that_says_something_else_on_the_topic_is_seen() {
    let (numbers, said) = broken(|facts| facts.published[0].event.kind = "WalletClosed".into());
    assert_eq!(numbers, [2], "{said}");
}

#[test]
fn a_gap_in_a_wallets_versions_is_seen_in_the_event_store_and_on_the_topic() {
    let (numbers, said) = broken(|facts| {
        for event in [&mut facts.committed[3], &mut facts.published[3].event] {
            event.version = 4;
        }
        facts.read_model[0].version = 4;
        facts.command_state[0].version = 4;
        facts.ledger_seen[0].version = 4;
    });
    assert_eq!(numbers, [3], "{said}");
    assert!(said.contains("the event store's wallet ada has version 4 where 3 belongs"), "{said}");
    assert!(said.contains("the topic's wallet ada has version 4 where 3 belongs"), "{said}");
}

#[test]
fn reordered_records_are_seen_though_all_are_there() {
    let (numbers, said) = broken(|facts| {
        facts.published[0].place.offset = 1;
        facts.published[1].place.offset = 0;
    });
    assert_eq!(numbers, [3], "{said}");
    assert!(said.contains("the topic's wallet ada has version 2 where 1 belongs"), "{said}");
}

#[test]
fn a_wallet_in_two_partitions_is_seen() {
    let (numbers, said) = broken(|facts| facts.published[3].place.partition = 7);
    assert_eq!(numbers, [3], "{said}");
    assert!(said.contains("wallet ada has records in partitions 0 and 7"), "{said}");
}

#[test]
fn a_record_under_another_wallets_key_is_seen() {
    let (numbers, said) = broken(|facts| facts.published[3].key = "eve".into());
    assert_eq!(numbers, [3], "{said}");
}

#[test]
fn a_read_model_that_lags_is_behind_its_version_and_its_fold() {
    let (numbers, said) = broken(|facts| facts.read_model[0] = row("ada", 2, 1000));
    assert_eq!(numbers, [3, 4, 7], "{said}");
    assert!(said.contains("wallet ada is at version 2 in the read model and at 3 in the event store"), "{said}");
}

#[test]
fn a_read_model_that_applied_an_event_twice_is_not_the_fold() {
    let (numbers, said) = broken(|facts| facts.read_model[1].amount = 800);
    assert_eq!(numbers, [4], "{said}");
    assert!(said.contains("bob is at 800 EUR (version 2) in the read model; the log makes it 400 EUR"), "{said}");
}

#[test]
fn a_wallet_that_the_read_model_does_not_have_is_named() {
    let (numbers, said) = broken(|facts| drop(facts.read_model.pop()));
    assert_eq!(numbers, [3, 4, 7], "{said}");
    assert!(said.contains("wallet bob is in the log but not in the read model"), "{said}");
}

#[test]
fn a_transaction_booked_twice_in_the_ledger_is_seen_though_it_balances() {
    let (numbers, said) = broken(|facts| {
        facts.ledger.extend([entry(7, 4, "t2", "ada", -400), entry(8, 5, "t2", "bob", 400)]);
    });
    assert_eq!(numbers, [4, 5], "{said}");
    assert!(said.contains("transaction t2 moves -400 on wallet ada by the log, but -800 by the ledger"), "{said}");
}

#[test]
fn a_ledger_that_stopped_at_an_earlier_version_is_seen() {
    let (numbers, said) = broken(|facts| facts.ledger_seen[1].version = 1);
    assert_eq!(numbers, [3, 5], "{said}");
    assert!(said.contains("wallet bob is at version 1 in the ledger and at 2 in the event store"), "{said}");
}

#[test]
fn a_transaction_missing_in_the_ledger_is_seen() {
    let (numbers, said) = broken(|facts| facts.ledger.truncate(2));
    assert_eq!(numbers, [4, 5, 7], "{said}");
}
