//! Given what happened, when somebody asks, then these events or this refusal.

use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::*;
use tidegate_contracts::Event;
use tidegate_settings::Overdraft;

use super::*;

const EUR: &str = "EUR";
const JPY: &str = "JPY";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn id(name: &str) -> WalletId {
    WalletId::parse(name).unwrap()
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn money(amount: &str) -> Movement {
    Movement { id: Uuid::nil(), amount: amount.to_owned(), currency: None, reference: None }
}

fn open(wallet: &str, code: &str) -> Command {
    Command::Open { wallet: id(wallet), owner: OwnerId::parse("alice").unwrap(), currency: currency(code) }
}

fn deposit(wallet: &str, amount: &str) -> Command {
    Command::Deposit { wallet: id(wallet), movement: money(amount) }
}

fn withdraw(wallet: &str, amount: &str) -> Command {
    Command::Withdraw { wallet: id(wallet), movement: money(amount) }
}

fn transfer(from: &str, to: &str, amount: &str) -> Command {
    Command::Transfer { from: id(from), to: id(to), movement: money(amount) }
}

const HOLD: Uuid = Uuid::from_u128(1);

fn hold(wallet: &str, hold: Uuid, amount: &str) -> Command {
    Command::Hold { wallet: id(wallet), movement: Movement { id: hold, ..money(amount) } }
}

fn release(hold: Uuid) -> Command {
    Command::Release { hold }
}

fn capture(hold: Uuid, amount: Option<&str>, to: Option<&str>) -> Command {
    Command::Capture(Capture {
        hold,
        transaction_id: Uuid::nil(),
        amount: amount.map(Into::into),
        currency: None,
        to: to.map(id),
        reference: None,
    })
}

/// Decides one command after the other, each on what the ones before it left.
fn play(book: &mut Book, commands: &[Command], overdraft: Overdraft) -> Result<Vec<Decided>, Refusal> {
    let mut log = Vec::new();
    for command in commands {
        for decided in decide(book, command, overdraft, NOW)? {
            book.apply(&decided);
            log.push(decided);
        }
    }
    Ok(log)
}

struct Given {
    book: Book,
    overdraft: Overdraft,
}

fn given(history: &[Command]) -> Given {
    let mut book = Book::default();
    play(&mut book, history, Overdraft::Forbidden).unwrap();
    Given { book, overdraft: Overdraft::Forbidden }
}

impl Given {
    fn with_overdraft(self) -> Self {
        Self { overdraft: Overdraft::Allowed, ..self }
    }

    /// The events as `wallet/version type -> balance`.
    fn when(&self, command: &Command) -> Result<Vec<String>, Refusal> {
        let events = decide(&self.book, command, self.overdraft, NOW)?;
        Ok(events
            .iter()
            .map(|Decided { event, after, .. }| {
                format!("{}/{} {} -> {}", after.id, after.version, event.event_type(), after.balance)
            })
            .collect())
    }

    fn refusal(&self, command: &Command) -> Refusal {
        self.when(command).unwrap_err()
    }
}

#[test]
fn a_wallet_begins_empty() {
    assert_eq!(given(&[]).when(&open("a", EUR)).unwrap(), ["a/1 WalletOpened -> 0.00"]);
}

#[test]
fn money_enters_and_leaves() {
    let given = given(&[open("a", EUR), deposit("a", "12.34")]);
    assert_eq!(given.when(&deposit("a", "0.01")).unwrap(), ["a/3 MoneyDeposited -> 12.35"]);
    assert_eq!(given.when(&withdraw("a", "12.34")).unwrap(), ["a/3 MoneyWithdrawn -> 0.00"]);
}

#[test]
fn a_transfer_is_an_event_of_each_wallet() {
    let given = given(&[open("a", EUR), open("b", EUR), deposit("a", "10")]);
    assert_eq!(
        given.when(&transfer("a", "b", "2.50")).unwrap(),
        ["a/3 TransferSent -> 7.50", "b/2 TransferReceived -> 2.50"]
    );
}

#[test]
fn an_overdraft_is_taken_only_where_it_is_allowed() {
    let given = given(&[open("a", EUR), open("b", EUR), deposit("a", "10")]);
    for command in [withdraw("a", "10.01"), transfer("a", "b", "10.01")] {
        assert_eq!(given.refusal(&command).to_string(), "the wallet a holds 10.00 EUR, less than 10.01");
    }
    let given = given.with_overdraft();
    assert_eq!(given.when(&withdraw("a", "10.01")).unwrap(), ["a/3 MoneyWithdrawn -> -0.01"]);
}

#[test]
fn what_does_not_exist_is_named_by_its_side() {
    let given = given(&[open("a", EUR)]);
    for (command, side, wallet) in [
        (deposit("x", "1"), Side::Wallet, "x"),
        (withdraw("x", "1"), Side::Wallet, "x"),
        (transfer("x", "a", "1"), Side::From, "x"),
        (transfer("a", "x", "1"), Side::To, "x"),
    ] {
        assert_eq!(given.refusal(&command), Refusal::UnknownWallet { side, wallet: id(wallet) });
    }
}

#[test]
fn a_wallet_is_opened_once() {
    assert_eq!(given(&[open("a", EUR)]).refusal(&open("a", JPY)), Refusal::WalletExists(id("a")));
}

#[test]
fn amounts_are_of_the_wallets_currency() {
    let given = given(&[open("e", EUR), open("j", JPY), deposit("e", "10"), deposit("j", "10")]);
    let precise = |found, code| Refusal::Amount(AmountError::TooManyDecimals { found, currency: currency(code) });
    assert_eq!(given.refusal(&deposit("e", "1.001")), precise(3, EUR));
    assert_eq!(given.refusal(&deposit("j", "1.5")), precise(1, JPY));
    assert_eq!(given.when(&deposit("j", "5")).unwrap(), ["j/3 MoneyDeposited -> 15"]);
    assert_eq!(given.refusal(&transfer("e", "j", "1")).to_string(), "the wallet j holds JPY, but e holds EUR");
    let said = Movement { currency: Some(currency(JPY)), ..money("1") };
    let command = Command::Withdraw { wallet: id("e"), movement: said };
    assert_eq!(given.refusal(&command).to_string(), "the wallet e holds EUR, not JPY");
}

#[test]
fn what_is_not_an_amount_more_than_zero_does_not_move() {
    let given = given(&[open("a", EUR), open("b", EUR)]);
    for (amount, error) in [
        ("0", AmountError::Zero),
        ("0.00", AmountError::Zero),
        ("-1", AmountError::Negative),
        ("1e3", AmountError::NotANumber),
    ] {
        for command in [deposit("a", amount), withdraw("a", amount), transfer("a", "b", amount)] {
            assert_eq!(given.refusal(&command), Refusal::Amount(error), "{command:?}");
        }
    }
}

#[test]
fn nobody_pays_themselves() {
    let given = given(&[open("a", EUR), deposit("a", "10")]);
    assert_eq!(given.refusal(&transfer("a", "a", "1")), Refusal::TransferToSelf(id("a")));
}

#[test]
fn a_balance_never_wraps() {
    let most = "92233720368547758.07";
    let given = given(&[open("a", EUR), open("b", EUR), deposit("a", most), deposit("b", "0.01")]);
    assert_eq!(given.refusal(&deposit("a", "0.01")), Refusal::BalanceOverflow(id("a")));
    assert_eq!(given.refusal(&transfer("a", "b", most)), Refusal::BalanceOverflow(id("b")));
    let mut given = given.with_overdraft();
    play(&mut given.book, &[withdraw("b", most), withdraw("b", "0.02")], Overdraft::Allowed).unwrap();
    assert_eq!(given.refusal(&withdraw("b", "0.01")), Refusal::BalanceOverflow(id("b")));
    assert_eq!(given.refusal(&hold("b", HOLD, "0.01")), Refusal::BalanceOverflow(id("b")));
}

#[test]
fn money_on_hold_stays_and_is_not_available() {
    let given = given(&[open("a", EUR), open("b", EUR), deposit("a", "10"), hold("a", HOLD, "8")]);
    let wallet = &given.book.wallets[&id("a")];
    assert_eq!((wallet.balance.units(), wallet.held.units(), wallet.available().units()), (1_000, 800, 200));
    let said = "the wallet a holds 10.00 EUR, of which 8.00 are on hold, less than 2.01";
    for command in [withdraw("a", "2.01"), transfer("a", "b", "2.01"), hold("a", Uuid::from_u128(2), "2.01")] {
        assert_eq!(given.refusal(&command).to_string(), said);
    }
    assert_eq!(given.when(&withdraw("a", "2.00")).unwrap(), ["a/4 MoneyWithdrawn -> 8.00"]);
    assert_eq!(given.when(&release(HOLD)).unwrap(), ["a/4 HoldReleased -> 10.00"]);
}

#[test]
fn what_is_captured_leaves_and_the_rest_is_available_again() {
    let given = given(&[open("a", EUR), open("b", EUR), deposit("a", "10"), hold("a", HOLD, "8")]);
    assert_eq!(given.when(&capture(HOLD, None, None)).unwrap(), ["a/4 HoldCaptured -> 2.00"]);
    let to_another = capture(HOLD, Some("5"), Some("b"));
    assert_eq!(given.when(&to_another).unwrap(), ["a/4 HoldCaptured -> 5.00", "b/2 TransferReceived -> 5.00"]);
    let mut book = given.book;
    play(&mut book, &[to_another], Overdraft::Forbidden).unwrap();
    let wallet = &book.wallets[&id("a")];
    assert_eq!((wallet.balance.units(), wallet.held.units()), (500, 0));
    let settled = book.holds[&HOLD].settled.clone().unwrap();
    assert_eq!((settled.version, settled.captured.units(), settled.to), (4, 500, Some(id("b"))));
}

#[test]
fn a_hold_ends_once() {
    for (end, captured) in [(release(HOLD), false), (capture(HOLD, Some("1"), None), true)] {
        let given = given(&[open("a", EUR), deposit("a", "10"), hold("a", HOLD, "8"), end]);
        for again in [release(HOLD), capture(HOLD, None, None)] {
            assert_eq!(given.refusal(&again), Refusal::HoldSettled { hold: HOLD, captured });
        }
        assert_eq!(given.refusal(&release(Uuid::from_u128(9))), Refusal::UnknownHold(Uuid::from_u128(9)));
    }
}

#[test]
fn a_capture_is_of_no_more_than_the_hold_and_goes_where_it_may() {
    let given = given(&[open("a", EUR), open("j", JPY), deposit("a", "10"), hold("a", HOLD, "8")]);
    for (command, said) in [
        (capture(HOLD, Some("8.01"), None), format!("the hold {HOLD} is of 8.00 EUR, less than 8.01")),
        (capture(HOLD, Some("0"), None), "the amount is zero; it must be more than zero".into()),
        (capture(HOLD, None, Some("a")), "a transfer needs two wallets; a is both".into()),
        (capture(HOLD, None, Some("x")), "there is no wallet x".into()),
        (capture(HOLD, None, Some("j")), "the wallet j holds JPY, but a holds EUR".into()),
    ] {
        assert_eq!(given.refusal(&command).to_string(), said);
    }
}

#[test]
fn the_time_of_a_wallet_never_goes_back() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let mut book = Book::default();
    let mut times = Vec::new();
    for (command, seconds) in [
        (open("a", EUR), 100),
        (open("b", EUR), 50),
        (deposit("a", "10"), 90),
        (transfer("a", "b", "1"), 80),
        (deposit("b", "1"), 70),
        (hold("b", HOLD, "1"), 120),
        (release(HOLD), 60),
    ] {
        for decided in decide(&book, &command, Overdraft::Forbidden, at(seconds)).unwrap() {
            times.push((decided.after.id.to_string(), decided.after.updated_at.as_second()));
            book.apply(&decided);
        }
    }
    let told: Vec<_> = times.iter().map(|(wallet, second)| (wallet.as_str(), *second)).collect();
    let expected = [("a", 100), ("b", 50), ("a", 100), ("a", 100), ("b", 100), ("b", 100), ("b", 120), ("b", 120)];
    assert_eq!(told, expected, "both sides of a transfer at one time");
    assert_eq!(book.wallets[&id("b")].opened_at, at(50));
}

#[test]
fn what_is_taken_back_was_never_there() {
    let mut given = given(&[open("a", EUR), open("b", EUR), deposit("a", "10"), hold("a", HOLD, "8")]);
    let before = given.book.clone();
    let commands = [open("c", EUR), capture(HOLD, Some("5"), Some("c")), hold("c", Uuid::from_u128(2), "1")];
    let mut undo = Vec::new();
    for command in commands {
        for decided in decide(&given.book, &command, given.overdraft, NOW).unwrap() {
            undo.push(given.book.apply(&decided));
        }
    }
    assert_ne!(given.book, before);
    undo.into_iter().rev().for_each(|undo| given.book.undo(undo));
    assert_eq!(given.book, before);
}

/// What an event adds to its wallet, in minor units.
fn effect(event: &WalletEvent) -> i64 {
    match event {
        WalletEvent::WalletOpened(_) | WalletEvent::FundsHeld(_) | WalletEvent::HoldReleased(_) => 0,
        WalletEvent::HoldCaptured(captured) => -captured.amount.units(),
        WalletEvent::MoneyDeposited(moved) => moved.amount.units(),
        WalletEvent::MoneyWithdrawn(moved) => -moved.amount.units(),
        WalletEvent::TransferReceived(moved) => moved.amount.units(),
        WalletEvent::TransferSent(moved) => -moved.amount.units(),
    }
}

/// What an event adds to what is on hold in its wallet, in minor units.
fn effect_on_hold(event: &WalletEvent) -> i64 {
    match event {
        WalletEvent::FundsHeld(hold) => hold.amount.units(),
        WalletEvent::HoldReleased(hold) => -hold.amount.units(),
        WalletEvent::HoldCaptured(captured) => -captured.amount.units() - captured.released.units(),
        _ => 0,
    }
}

/// Any command on four wallets, of which `d` is in yen, and on six holds.
fn any_command() -> impl Strategy<Value = Command> {
    let any_hold = || (1_u128..7).prop_map(Uuid::from_u128);
    let wallet = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let amount = || prop_oneof![Just("0".to_owned()), "[0-9]{1,4}(\\.[0-9]{1,3})?", "[0-9]{17}\\.[0-9]{2}"];
    prop_oneof![
        1 => wallet().prop_map(|wallet| open(wallet, if wallet == "d" { JPY } else { EUR })),
        4 => (wallet(), amount()).prop_map(|(wallet, amount)| deposit(wallet, &amount)),
        3 => (wallet(), amount()).prop_map(|(wallet, amount)| withdraw(wallet, &amount)),
        6 => (wallet(), wallet(), amount()).prop_map(|(from, to, amount)| transfer(from, to, &amount)),
        3 => (wallet(), amount()).prop_map(|(wallet, amount)| hold(wallet, Uuid::nil(), &amount)),
        3 => (any_hold(), prop::option::of(amount()), prop::option::of(wallet()))
            .prop_map(|(hold, amount, to)| capture(hold, amount.as_deref(), to)),
        2 => any_hold().prop_map(release),
    ]
}

proptest! {
    /// Money comes from outside and goes there; within, it only changes places. Versions are 1..n. A refusal changes nothing.
    #[test]
    fn money_is_conserved_and_versions_are_gapless(
        commands in prop::collection::vec(any_command(), 1..60),
        overdraft in prop::sample::select(vec![Overdraft::Forbidden, Overdraft::Allowed]),
    ) {
        let mut book = Book::default();
        let mut outside: HashMap<Currency, i128> = HashMap::new();
        let mut folded: HashMap<WalletId, Wallet> = HashMap::new();
        let mut placed = 0;
        for command in ["a", "b", "c", "d"].map(|w| open(w, if w == "d" { JPY } else { EUR })).iter().chain(&commands) {
            let before = book.clone();
            // Ids of holds are new each time, as the service's are.
            let command = &match command.clone() {
                Command::Hold { wallet, movement } => {
                    Command::Hold { wallet, movement: Movement { id: Uuid::from_u128(placed + 1), ..movement } }
                }
                other => other,
            };
            let Ok(log) = play(&mut book, std::slice::from_ref(command), overdraft) else {
                prop_assert_eq!(&book, &before);
                continue;
            };
            placed += u128::from(matches!(command, Command::Hold { .. }));
            for Decided { event, after, .. } in log {
                let seen = folded.get(&after.id).map_or(0, |wallet| wallet.version);
                prop_assert_eq!(after.version, seen + 1);
                let effect = i128::from(effect(&event));
                let had = folded.get(&after.id).map_or(0, |wallet| wallet.balance.units());
                prop_assert_eq!(i128::from(after.balance.units()), i128::from(had) + effect, "the event says what the state says");
                let had = folded.get(&after.id).map_or(0, |wallet| wallet.held.units());
                prop_assert_eq!(after.held.units(), had + effect_on_hold(&event));
                let crosses = match &event {
                    WalletEvent::MoneyDeposited(_) | WalletEvent::MoneyWithdrawn(_) => true,
                    WalletEvent::HoldCaptured(captured) => captured.counterparty.is_none(),
                    _ => false,
                };
                if crosses {
                    *outside.entry(after.currency()).or_default() -= effect;
                }
                folded.insert(after.id.clone(), after);
            }
        }
        prop_assert_eq!(&folded, &book.wallets);
        for code in [EUR, JPY].map(currency) {
            let wallets = book.wallets.values().filter(|wallet| wallet.currency() == code);
            let balances: i128 = wallets.map(|wallet| i128::from(wallet.balance.units())).sum();
            prop_assert_eq!(balances + outside.get(&code).copied().unwrap_or_default(), 0);
        }
        for wallet in book.wallets.values() {
            let open = book.holds.values().filter(|hold| hold.wallet == wallet.id && hold.settled.is_none());
            prop_assert_eq!(open.map(|hold| hold.amount.units()).sum::<i64>(), wallet.held.units());
            prop_assert_eq!(wallet.available().units(), wallet.balance.units() - wallet.held.units());
            prop_assert!(overdraft == Overdraft::Allowed || wallet.available().units() >= 0);
        }
    }
}
