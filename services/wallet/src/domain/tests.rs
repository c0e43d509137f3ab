//! Given what happened, when somebody asks, then these events or this refusal.

use proptest::prelude::*;
use tidegate_contracts::Event;
use tidegate_settings::Overdraft;

use super::*;

const EUR: &str = "EUR";
const JPY: &str = "JPY";

fn id(name: &str) -> WalletId {
    WalletId::parse(name).unwrap()
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn money(amount: &str) -> Movement {
    let transaction_id = Uuid::nil();
    Movement { transaction_id, amount: amount.to_owned(), currency: None, reference: None }
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

/// Decides one command after the other, each on what the ones before it left.
fn play(book: &mut Book, commands: &[Command], overdraft: Overdraft) -> Result<Vec<Decided>, Refusal> {
    let mut log = Vec::new();
    for command in commands {
        for decided in decide(book, command, overdraft)? {
            book.insert(decided.after.id.clone(), decided.after.clone());
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
    let mut book = Book::new();
    play(&mut book, history, Overdraft::Forbidden).unwrap();
    Given { book, overdraft: Overdraft::Forbidden }
}

impl Given {
    fn with_overdraft(self) -> Self {
        Self { overdraft: Overdraft::Allowed, ..self }
    }

    /// The events as `wallet/version type -> balance`.
    fn when(&self, command: &Command) -> Result<Vec<String>, Refusal> {
        let events = decide(&self.book, command, self.overdraft)?;
        Ok(events
            .iter()
            .map(|Decided { event, after }| {
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
}

/// What an event adds to its wallet, in minor units.
fn effect(event: &WalletEvent) -> i64 {
    match event {
        WalletEvent::WalletOpened(_) => 0,
        WalletEvent::MoneyDeposited(moved) => moved.amount.units(),
        WalletEvent::MoneyWithdrawn(moved) => -moved.amount.units(),
        WalletEvent::TransferReceived(moved) => moved.amount.units(),
        WalletEvent::TransferSent(moved) => -moved.amount.units(),
    }
}

/// Any command on four wallets, of which `d` is in yen.
fn any_command() -> impl Strategy<Value = Command> {
    let wallet = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let amount = || prop_oneof![Just("0".to_owned()), "[0-9]{1,4}(\\.[0-9]{1,3})?", "[0-9]{17}\\.[0-9]{2}"];
    prop_oneof![
        1 => wallet().prop_map(|wallet| open(wallet, if wallet == "d" { JPY } else { EUR })),
        4 => (wallet(), amount()).prop_map(|(wallet, amount)| deposit(wallet, &amount)),
        3 => (wallet(), amount()).prop_map(|(wallet, amount)| withdraw(wallet, &amount)),
        6 => (wallet(), wallet(), amount()).prop_map(|(from, to, amount)| transfer(from, to, &amount)),
    ]
}

proptest! {
    /// Money comes from outside and goes there; within, it only changes places. Versions are 1..n. A refusal changes nothing.
    #[test]
    fn money_is_conserved_and_versions_are_gapless(
        commands in prop::collection::vec(any_command(), 1..60),
        overdraft in prop::sample::select(vec![Overdraft::Forbidden, Overdraft::Allowed]),
    ) {
        let mut book = Book::new();
        let mut outside: HashMap<Currency, i128> = HashMap::new();
        let mut folded: Book = Book::new();
        for command in ["a", "b", "c", "d"].map(|w| open(w, if w == "d" { JPY } else { EUR })).iter().chain(&commands) {
            let before = book.clone();
            let Ok(log) = play(&mut book, std::slice::from_ref(command), overdraft) else {
                prop_assert_eq!(&book, &before);
                continue;
            };
            for Decided { event, after } in log {
                let seen = folded.get(&after.id).map_or(0, |wallet| wallet.version);
                prop_assert_eq!(after.version, seen + 1);
                let effect = i128::from(effect(&event));
                let had = folded.get(&after.id).map_or(0, |wallet| wallet.balance.units());
                prop_assert_eq!(i128::from(after.balance.units()), i128::from(had) + effect, "the event says what the state says");
                if matches!(event, WalletEvent::MoneyDeposited(_) | WalletEvent::MoneyWithdrawn(_)) {
                    *outside.entry(after.currency()).or_default() -= effect;
                }
                folded.insert(after.id.clone(), after);
            }
        }
        prop_assert_eq!(&folded, &book);
        for code in [EUR, JPY].map(currency) {
            let held: i128 = book.values().filter(|w| w.currency() == code).map(|w| i128::from(w.balance.units())).sum();
            prop_assert_eq!(held + outside.get(&code).copied().unwrap_or_default(), 0);
        }
        if overdraft == Overdraft::Forbidden {
            prop_assert!(book.values().all(|wallet| wallet.balance.units() >= 0));
        }
    }
}
