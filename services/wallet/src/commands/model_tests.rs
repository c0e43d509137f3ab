//! The command side against a model of it that is simple enough to be seen to be right: any requests, in any batches, under any keys,
//! with a process that dies before or after a commit and callers that ask again. Tables are maps here; everything else is the real
//! code.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;
use tidegate_contracts::{
    Envelope,
    wallet::{WalletEvent, chain::Hash},
};
use tidegate_settings::Overdraft;
use uuid::Uuid;

use super::{
    IdempotencyKey, Mode, Request, Work, answer::Answer, chain, committer::envelopes, plan::Terms, plan::plan,
    store::StoredAnswer,
};
use crate::{
    chain::{Follower, Head, Stored},
    domain::{Book, Capture, Command, Movement, OwnerId, WalletId},
    projections,
};

const WALLETS: [&str; 4] = ["a", "b", "c", "d"];

/// A command on the wallets by their numbers, in cents.
#[derive(Clone, Copy, Debug)]
enum Op {
    Open(usize),
    Deposit(usize, i64),
    Withdraw(usize, i64),
    Transfer(usize, usize, i64),
    Hold(u128, usize, i64),
    Capture(u128, Option<i64>, Option<usize>),
    Release(u128),
}

#[derive(Clone, Debug)]
enum Asked {
    One(Op),
    Bulk(Mode, Vec<Op>),
}

/// A request, its key, and what makes the batch that it is in fail.
#[derive(Clone, Debug)]
struct Step {
    asked: Asked,
    key: Option<u8>,
    ends_batch: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Commits,
    DiesBefore,
    DiesAfter,
}

/// What wallets are, in a few lines.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    balances: BTreeMap<usize, i64>,
    holds: BTreeMap<u128, (usize, i64, bool)>,
}

impl Model {
    fn held(&self, wallet: usize) -> i64 {
        self.holds.values().filter(|(of, _, open)| *of == wallet && *open).map(|(_, amount, _)| amount).sum()
    }

    /// Whether the command is accepted. If it is not, nothing has changed.
    fn run(&mut self, op: Op) -> bool {
        let before = self.clone();
        let accepted = self.try_run(op).is_some();
        if !accepted {
            *self = before;
        }
        accepted
    }

    fn add(&mut self, wallet: usize, amount: i64) -> Option<()> {
        *self.balances.get_mut(&wallet)? += amount;
        Some(())
    }

    fn take(&mut self, wallet: usize, amount: i64) -> Option<()> {
        let enough = self.balances.get(&wallet)? - self.held(wallet) >= amount;
        (enough && amount > 0).then_some(())?;
        self.add(wallet, -amount)
    }

    fn end(&mut self, hold: u128) -> Option<(usize, i64)> {
        let (wallet, amount, open) = self.holds.get_mut(&hold)?;
        std::mem::replace(open, false).then_some((*wallet, *amount))
    }

    fn try_run(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Open(wallet) => self.balances.insert(wallet, 0).is_none().then_some(()),
            Op::Deposit(wallet, amount) => self.add(wallet, amount).filter(|()| amount > 0),
            Op::Withdraw(wallet, amount) => self.take(wallet, amount),
            Op::Transfer(from, to, amount) => {
                self.take(from, amount)?;
                self.add(to, amount).filter(|()| from != to)
            }
            Op::Hold(id, wallet, amount) => {
                self.take(wallet, amount)?;
                self.add(wallet, amount)?;
                self.holds.insert(id, (wallet, amount, true));
                Some(())
            }
            Op::Capture(id, amount, to) => {
                let (wallet, whole) = self.end(id)?;
                let amount = amount.unwrap_or(whole);
                ((1..=whole).contains(&amount) && to != Some(wallet)).then_some(())?;
                self.add(wallet, -amount)?;
                to.map_or(Some(()), |to| self.add(to, amount))
            }
            Op::Release(id) => self.end(id).map(|_| ()),
        }
    }
}

fn command(op: Op) -> Command {
    let id = |wallet: usize| WalletId::parse(WALLETS[wallet]).unwrap();
    let cents = |amount: i64| format!("{}.{:02}", amount / 100, amount % 100);
    let movement =
        |hold, amount| Movement { id: Uuid::from_u128(hold), amount: cents(amount), currency: None, reference: None };
    match op {
        Op::Open(wallet) => {
            Command::Open { wallet: id(wallet), owner: OwnerId::parse("o").unwrap(), currency: "EUR".parse().unwrap() }
        }
        Op::Deposit(wallet, amount) => Command::Deposit { wallet: id(wallet), movement: movement(0, amount) },
        Op::Withdraw(wallet, amount) => Command::Withdraw { wallet: id(wallet), movement: movement(0, amount) },
        Op::Transfer(from, to, amount) => {
            Command::Transfer { from: id(from), to: id(to), movement: movement(0, amount) }
        }
        Op::Hold(hold, wallet, amount) => Command::Hold { wallet: id(wallet), movement: movement(hold, amount) },
        Op::Capture(hold, amount, to) => Command::Capture(Capture {
            hold: Uuid::from_u128(hold),
            transaction_id: Uuid::nil(),
            amount: amount.map(cents),
            currency: None,
            to: to.map(id),
            reference: None,
        }),
        Op::Release(hold) => Command::Release { hold: Uuid::from_u128(hold) },
    }
}

fn request(asked: &Asked, nth: usize, key: Option<u8>) -> Request {
    let work = match asked {
        Asked::One(op) => Work::One(command(*op)),
        Asked::Bulk(mode, ops) => Work::Bulk { mode: *mode, operations: ops.iter().map(|op| command(*op)).collect() },
    };
    let hash = [u8::try_from(nth).unwrap(); 32];
    let key = key.map(|key| IdempotencyKey { key: key.to_string(), request_hash: hash });
    Request { work, key, correlation_id: Uuid::nil(), traceparent: None }
}

/// The tables.
#[derive(Default)]
struct Tables {
    book: Book,
    heads: HashMap<WalletId, Hash>,
    answers: HashMap<String, StoredAnswer>,
    events: Vec<(Envelope<WalletEvent>, Hash)>,
}

impl Tables {
    /// What the committer does with a batch, and the commit if it comes to that.
    fn settle(&mut self, requests: &[Request], now: i64, fate: Fate) -> Vec<Answer> {
        let now = Timestamp::from_millisecond(now).unwrap();
        let terms = Terms { overdraft: Overdraft::Forbidden, now, new_id: Uuid::nil };
        let plan = plan(self.book.clone(), &self.answers, requests, terms);
        if fate != Fate::DiesBefore {
            let linked = chain::links(&mut self.heads, envelopes(requests, &plan));
            self.events.extend(linked.into_iter().map(|event| (event.envelope, event.hash)));
            plan.wallets().into_iter().for_each(|w| drop(self.book.wallets.insert(w.id.clone(), w.clone())));
            plan.holds().into_iter().for_each(|h| drop(self.book.holds.insert(h.id, h.clone())));
            for &n in &plan.keep {
                let key = requests[n].key.as_ref().unwrap();
                let stored = StoredAnswer { request_hash: key.request_hash.to_vec(), answer: plan.answers[n].clone() };
                assert!(self.answers.insert(key.key.clone(), stored).is_none(), "a key is used once");
            }
        }
        plan.answers
    }
}

/// What the request must be answered: its status, and for a bulk of independent operations how many were accepted.
fn expected(model: &mut Model, asked: &Asked) -> (bool, Option<usize>) {
    match asked {
        Asked::One(op) => (model.run(*op), None),
        Asked::Bulk(Mode::Independent, ops) => (true, Some(ops.iter().filter(|op| model.run(**op)).count())),
        Asked::Bulk(Mode::Atomic, ops) => {
            let before = model.clone();
            let all = ops.iter().all(|op| model.run(*op));
            if !all {
                *model = before;
            }
            (all, None)
        }
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let (wallet, amount, hold) = (|| 0_usize..4, || 0_i64..500, || 1_u128..12);
    prop_oneof![
        1 => wallet().prop_map(Op::Open),
        5 => (wallet(), 0_i64..1000).prop_map(|(wallet, amount)| Op::Deposit(wallet, amount)),
        2 => (wallet(), amount()).prop_map(|(wallet, amount)| Op::Withdraw(wallet, amount)),
        4 => (wallet(), wallet(), amount()).prop_map(|(from, to, amount)| Op::Transfer(from, to, amount)),
        4 => (wallet(), amount()).prop_map(|(wallet, amount)| Op::Hold(0, wallet, amount)),
        3 => (hold(), prop::option::of(amount()), prop::option::of(wallet()))
            .prop_map(|(hold, amount, to)| Op::Capture(hold, amount, to)),
        2 => hold().prop_map(Op::Release),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let ops = || prop::collection::vec(any_op(), 1..5);
    let asked = prop_oneof![
        4 => any_op().prop_map(Asked::One),
        1 => ops().prop_map(|ops| Asked::Bulk(Mode::Atomic, ops)),
        1 => ops().prop_map(|ops| Asked::Bulk(Mode::Independent, ops)),
    ];
    let fate = prop_oneof![
        3 => Just(None),
        2 => Just(Some(Fate::Commits)),
        1 => Just(Some(Fate::DiesBefore)),
        1 => Just(Some(Fate::DiesAfter)),
    ];
    (asked, prop::option::of(0_u8..20), fate).prop_map(|(asked, key, ends_batch)| Step { asked, key, ends_batch })
}

/// Gives every hold an id of its own, as the service does.
fn number_holds(steps: &mut [Step]) {
    let mut next = 0;
    for step in steps {
        let ops = match &mut step.asked {
            Asked::One(op) => std::slice::from_mut(op),
            Asked::Bulk(_, ops) => ops,
        };
        for op in ops {
            if let Op::Hold(id, ..) = op {
                next += 1;
                *id = next;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_command_side_does_what_the_model_does(
        mut steps in prop::collection::vec(any_step(), 1..80),
        clocks in prop::collection::vec(0_i64..100, 200),
    ) {
        number_holds(&mut steps);
        let mut tables = Tables::default();
        let mut model = Model::default();
        for wallet in 0..3 {
            let opened = request(&Asked::One(Op::Open(wallet)), 255, None);
            tables.settle(&[opened], 0, Fate::Commits);
            model.run(Op::Open(wallet));
        }
        let mut used: BTreeSet<u8> = BTreeSet::new();
        let mut clocks = clocks.into_iter();
        let mut batch: Vec<usize> = Vec::new();
        for (nth, step) in steps.iter().enumerate() {
            batch.push(nth);
            let last = nth + 1 == steps.len();
            let Some(fate) = step.ends_batch.or(last.then_some(Fate::Commits)) else { continue };
            let requests: Vec<_> = batch.iter().map(|&n| request(&steps[n].asked, n, steps[n].key)).collect();
            let mut answers = tables.settle(&requests, clocks.next().unwrap(), fate);
            let mut told = batch.clone();
            if fate != Fate::Commits {
                // Nobody was answered. Who has a key asks again; who has none does not know, and what became of it is not its business.
                let again: Vec<usize> = batch.iter().copied().filter(|&n| steps[n].key.is_some()).collect();
                let requests: Vec<_> = again.iter().map(|&n| request(&steps[n].asked, n, steps[n].key)).collect();
                let later = tables.settle(&requests, clocks.next().unwrap(), Fate::Commits);
                if fate == Fate::DiesAfter {
                    let heard = batch.iter().zip(&answers).filter(|(n, _)| steps[**n].key.is_some());
                    for ((n, before), after) in heard.zip(&later) {
                        prop_assert_eq!(before, after, "request {} is answered as it was", n);
                    }
                } else {
                    answers = later;
                    told = again;
                }
            }
            for (&n, answer) in told.iter().zip(&answers) {
                let asked = &steps[n].asked;
                // A key that was used for another request is refused.
                let outcome = if steps[n].key.is_some_and(|key| !used.insert(key)) {
                    (false, None)
                } else {
                    expected(&mut model, asked)
                };
                prop_assert_eq!(answer.status < 400, outcome.0, "{:?}: {}", asked, &answer.body);
                let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                if let Some(accepted) = outcome.1 {
                    prop_assert_eq!(&body["accepted"], &serde_json::json!(accepted), "{}", body);
                }
            }
            batch.clear();
            holds_true(&tables, &model)?;
        }
    }
}

/// Everything that must hold after every commit.
fn holds_true(tables: &Tables, model: &Model) -> Result<(), TestCaseError> {
    let mut accounts: BTreeMap<String, i64> = BTreeMap::new();
    for (event, _) in &tables.events {
        let lines = projections::booked(event);
        prop_assert_eq!(lines.iter().flatten().map(|(_, amount)| amount).sum::<i64>(), 0);
        lines.into_iter().flatten().for_each(|(account, amount)| *accounts.entry(account).or_default() += amount);
    }
    prop_assert_eq!(accounts.get("transit:EUR").copied().unwrap_or_default(), 0, "both sides are decided together");
    prop_assert_eq!(accounts.values().sum::<i64>(), 0);
    prop_assert_eq!(tables.book.wallets.len(), model.balances.len());
    for (&wallet, &balance) in &model.balances {
        let name = WALLETS[wallet];
        let state = &tables.book.wallets[&WalletId::parse(name).unwrap()];
        prop_assert_eq!(state.balance.units(), balance);
        prop_assert_eq!(state.held.units(), model.held(wallet));
        prop_assert!(state.available().units() >= 0, "no overdraft");
        prop_assert_eq!(accounts.get(name).copied().unwrap_or_default(), balance, "the ledger says the same");
        let events: Vec<_> = tables.events.iter().filter(|(event, _)| event.aggregate_id == name).collect();
        let versions: Vec<_> = events.iter().map(|(event, _)| event.aggregate_version).collect();
        prop_assert_eq!(versions, (1..=state.version).collect::<Vec<_>>());
        prop_assert!(events.windows(2).all(|two| two[0].0.timestamp <= two[1].0.timestamp), "time never goes back");
        let hash = tables.heads[&state.id].to_vec();
        let head = Head { version: state.version, chained: state.version, hash: Some(hash) };
        let mut follower = Follower::new(name);
        events.iter().for_each(|(event, hash)| follower.follow(&Stored::of(event, hash), &head));
        prop_assert_eq!(follower.end(&head), None, "the chain is intact");
    }
    Ok(())
}
