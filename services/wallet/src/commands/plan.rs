//! What a batch of requests amounts to: each decided on what the ones before it left, all written together. Pure, as the domain is.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use tidegate_settings::Overdraft;
use uuid::Uuid;

use super::{
    answer::{self, Answer},
    store::StoredAnswer,
};
use crate::domain::{self, Book, Command, Decided, Hold, Refusal, Undo, Wallet, WalletId};

/// What is asked for, and what came with it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub work: Work,
    /// Under which key, if the caller gave one.
    pub key: Option<IdempotencyKey>,
    /// What everything that follows from it is joined by.
    pub correlation_id: Uuid,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
}

/// One command, or several in one request.
#[derive(Clone, Debug)]
pub enum Work {
    /// One.
    One(Command),
    /// Several, decided in their order.
    Bulk {
        /// What a refusal of one means for the others.
        mode: Mode,
        /// The commands.
        operations: Vec<Command>,
    },
}

impl From<Command> for Work {
    fn from(command: Command) -> Self {
        Self::One(command)
    }
}

/// What the refusal of one command of a bulk means for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None of them happens.
    Atomic,
    /// Nothing: each is answered for itself.
    Independent,
}

impl Request {
    /// The commands, in their order.
    pub fn commands(&self) -> &[Command] {
        match &self.work {
            Work::One(command) => std::slice::from_ref(command),
            Work::Bulk { operations, .. } => operations,
        }
    }
}

/// The key of a request, and the hash of the request that it was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the header said it.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request_hash: [u8; 32],
}

/// An event to be stored and published.
pub struct Planned {
    /// Its id.
    pub event_id: Uuid,
    /// The request that it came from.
    pub request: usize,
    /// The event, and its wallet after it.
    pub decided: Decided,
}

/// What to write, and what to answer once it is written.
pub struct Plan {
    /// In the order in which they were decided.
    pub events: Vec<Planned>,
    /// An answer a request.
    pub answers: Vec<Answer>,
    /// The requests whose answers are to be kept under their keys.
    pub keep: Vec<usize>,
}

impl Plan {
    /// The wallets as the plan leaves them, those that change, in the order of their ids.
    pub fn wallets(&self) -> Vec<&Wallet> {
        let last: BTreeMap<&WalletId, &Wallet> =
            self.events.iter().map(|event| (&event.decided.after.id, &event.decided.after)).collect();
        last.into_values().collect()
    }

    /// The holds as the plan leaves them, those that begin or end, in the order of their ids.
    pub fn holds(&self) -> Vec<&Hold> {
        let changed = self.events.iter().filter_map(|event| event.decided.hold.as_ref());
        let last: BTreeMap<Uuid, &Hold> = changed.map(|hold| (hold.id, hold)).collect();
        last.into_values().collect()
    }
}

/// What decisions go by that is not in the book.
pub struct Terms<I> {
    /// Whether balances may go below zero.
    pub overdraft: Overdraft,
    /// The time, to the millisecond.
    pub now: Timestamp,
    /// A new UUIDv7.
    pub new_id: I,
}

/// Plans the batch on the book and the answers given before.
pub fn plan<I: FnMut() -> Uuid>(
    book: Book,
    given: &HashMap<String, StoredAnswer>,
    requests: &[Request],
    terms: Terms<I>,
) -> Plan {
    let mut deciding = Deciding { book, terms, events: Vec::new() };
    let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
    let mut keep = Vec::new();
    let mut given_here: HashMap<&str, usize> = HashMap::new();

    for (index, request) in requests.iter().enumerate() {
        if let Some(key) = &request.key {
            let before = match given_here.get(key.key.as_str()) {
                Some(&first) => requests[first].key.as_ref().map(|key| (&key.request_hash[..], &answers[first])),
                None => given.get(&key.key).map(|stored| (&stored.request_hash[..], &stored.answer)),
            };
            if let Some((request_hash, answered)) = before {
                let answer = if request_hash == key.request_hash { answered.clone() } else { answer::key_reused() };
                answers.push(answer);
                continue;
            }
        }
        let answer = match &request.work {
            Work::One(command) => match deciding.decide(index, command) {
                Ok(accepted) => answer::one(&accepted.answer),
                Err(refusal) => answer::refused(&refusal),
            },
            Work::Bulk { mode: Mode::Atomic, operations } => deciding.atomic(index, operations),
            Work::Bulk { mode: Mode::Independent, operations } => {
                answer::independent(operations.iter().map(|command| Ok(deciding.decide(index, command)?.answer)))
            }
        };
        // What is malformed may be sent right under the same key.
        if let Some(key) = request.key.as_ref().filter(|_| !answer.is_malformed()) {
            given_here.insert(&key.key, index);
            keep.push(index);
        }
        answers.push(answer);
    }
    Plan { events: deciding.events, answers, keep }
}

/// A batch of which some is decided.
struct Deciding<I> {
    book: Book,
    terms: Terms<I>,
    events: Vec<Planned>,
}

struct Accepted {
    answer: serde_json::Value,
    undo: Vec<Undo>,
}

impl<I: FnMut() -> Uuid> Deciding<I> {
    fn decide(&mut self, request: usize, command: &Command) -> Result<Accepted, Refusal> {
        let decided = domain::decide(&self.book, command, self.terms.overdraft, self.terms.now)?;
        let answer = answer::accepted(command, &decided);
        let undo = decided.iter().map(|decided| self.book.apply(decided)).collect();
        let new_id = &mut self.terms.new_id;
        self.events.extend(decided.into_iter().map(|decided| Planned { event_id: new_id(), request, decided }));
        Ok(Accepted { answer, undo })
    }

    /// All of them, or none, and then the first that was refused is the answer.
    fn atomic(&mut self, request: usize, operations: &[Command]) -> Answer {
        let before = self.events.len();
        let mut undo = Vec::with_capacity(operations.len());
        let mut answers = Vec::with_capacity(operations.len());
        for (index, command) in operations.iter().enumerate() {
            match self.decide(request, command) {
                Ok(accepted) => {
                    undo.extend(accepted.undo);
                    answers.push(accepted.answer);
                }
                Err(refusal) => {
                    undo.into_iter().rev().for_each(|undo| self.book.undo(undo));
                    self.events.truncate(before);
                    return answer::refused_within(index, &refusal);
                }
            }
        }
        answer::atomic(answers)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contracts::{Currency, Event, Money};

    use super::*;
    use crate::domain::Movement;

    fn id(name: &str) -> WalletId {
        WalletId::parse(name).unwrap()
    }

    fn book(wallets: &[(&str, i64)]) -> Book {
        let eur: Currency = "EUR".parse().unwrap();
        let wallet = |(name, units): &(&str, i64)| Wallet {
            id: id(name),
            version: 1,
            owner_id: "o".into(),
            balance: Money::new(*units, eur),
            held: Money::new(0, eur),
            opened_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let wallets = wallets.iter().map(|named| (id(named.0), wallet(named))).collect();
        Book { wallets, ..Book::default() }
    }

    fn withdrawal(wallet: &str, amount: &str) -> Command {
        let movement = Movement { id: Uuid::nil(), amount: amount.into(), currency: None, reference: None };
        Command::Withdraw { wallet: id(wallet), movement }
    }

    fn withdraw(wallet: &str, amount: &str, key: Option<(&str, u8)>) -> Request {
        asked(Work::One(withdrawal(wallet, amount)), key)
    }

    fn bulk(mode: Mode, operations: &[(&str, &str)], key: Option<(&str, u8)>) -> Request {
        let operations = operations.iter().map(|(wallet, amount)| withdrawal(wallet, amount)).collect();
        asked(Work::Bulk { mode, operations }, key)
    }

    fn asked(work: Work, key: Option<(&str, u8)>) -> Request {
        Request {
            work,
            key: key.map(|(key, request)| IdempotencyKey { key: key.into(), request_hash: [request; 32] }),
            correlation_id: Uuid::nil(),
            traceparent: None,
        }
    }

    fn planned(book: Book, given: &HashMap<String, StoredAnswer>, requests: &[Request]) -> Plan {
        let terms = Terms { overdraft: Overdraft::Forbidden, now: Timestamp::UNIX_EPOCH, new_id: Uuid::nil };
        plan(book, given, requests, terms)
    }

    fn statuses(plan: &Plan) -> Vec<u16> {
        plan.answers.iter().map(|answer| answer.status).collect()
    }

    #[test]
    fn each_request_is_decided_on_what_the_ones_before_it_left() {
        let requests =
            [withdraw("b", "6", None), withdraw("a", "6", None), withdraw("a", "6", None), withdraw("a", "4", None)];
        let plan = planned(book(&[("a", 1_000), ("b", 1_000), ("c", 1_000)]), &HashMap::new(), &requests);
        assert_eq!(statuses(&plan), [201, 201, 422, 201]);
        let events: Vec<_> = plan
            .events
            .iter()
            .map(|event| {
                (
                    event.request,
                    event.decided.after.id.as_str(),
                    event.decided.after.version,
                    event.decided.event.event_type(),
                )
            })
            .collect();
        assert_eq!(
            events,
            [(0, "b", 2, "MoneyWithdrawn"), (1, "a", 2, "MoneyWithdrawn"), (3, "a", 3, "MoneyWithdrawn")]
        );
        let wallets: Vec<_> = plan.wallets().iter().map(|w| (w.id.as_str(), w.version, w.balance.units())).collect();
        assert_eq!(wallets, [("a", 3, 0), ("b", 2, 400)], "only those that change");
        assert!(plan.keep.is_empty());
    }

    #[test]
    fn a_key_has_one_effect_within_a_batch_too() {
        let requests = [
            withdraw("a", "6", Some(("k", 1))),
            withdraw("a", "6", Some(("k", 1))),
            withdraw("a", "1", Some(("k", 2))),
        ];
        let plan = planned(book(&[("a", 1_000)]), &HashMap::new(), &requests);
        assert_eq!(statuses(&plan), [201, 201, 422]);
        assert_eq!(plan.answers[0], plan.answers[1]);
        assert!(plan.answers[2].body.contains("idempotency-key-reused"));
        assert_eq!((plan.events.len(), plan.keep.as_slice()), (1, &[0][..]));
    }

    #[test]
    fn an_answer_given_before_is_given_again_and_nothing_else_happens() {
        let answer = Answer { status: 201, body: "as it was".into() };
        let given =
            HashMap::from([("k".to_owned(), StoredAnswer { request_hash: vec![1; 32], answer: answer.clone() })]);
        let requests = [withdraw("a", "6", Some(("k", 1))), withdraw("a", "6", Some(("k", 2)))];
        let plan = planned(book(&[("a", 1_000)]), &given, &requests);
        assert_eq!(plan.answers[0], answer);
        assert_eq!(plan.answers[1].status, 422);
        assert!(plan.events.is_empty() && plan.keep.is_empty());
    }

    #[test]
    fn a_refusal_is_kept_and_what_is_malformed_is_not() {
        let requests = [withdraw("a", "6", Some(("refused", 1))), withdraw("a", "six", Some(("malformed", 1)))];
        let plan = planned(book(&[("a", 0)]), &HashMap::new(), &requests);
        assert_eq!((statuses(&plan), plan.keep), (vec![422, 400], vec![0]));
    }

    #[test]
    fn what_is_malformed_frees_its_key_within_a_batch_too() {
        let requests = [withdraw("a", "six", Some(("k", 1))), withdraw("a", "6", Some(("k", 2)))];
        let plan = planned(book(&[("a", 1_000)]), &HashMap::new(), &requests);
        assert_eq!((statuses(&plan), plan.keep), (vec![400, 201], vec![1]));
    }

    #[test]
    fn an_atomic_bulk_that_fails_leaves_no_trace_and_says_where_it_failed() {
        let requests = [
            withdraw("a", "1", None),
            bulk(Mode::Atomic, &[("a", "4"), ("b", "6"), ("a", "6")], Some(("k", 1))),
            withdraw("a", "9", None),
            bulk(Mode::Atomic, &[("b", "5"), ("b", "5")], None),
        ];
        let plan = planned(book(&[("a", 1_000), ("b", 1_000)]), &HashMap::new(), &requests);
        assert_eq!(statuses(&plan), [201, 422, 201, 201]);
        let problem: serde_json::Value = serde_json::from_str(&plan.answers[1].body).unwrap();
        assert_eq!(problem["field"], "operations[2].amount", "{problem}");
        let events: Vec<_> = plan.events.iter().map(|event| (event.request, event.decided.after.id.as_str())).collect();
        assert_eq!(events, [(0, "a"), (2, "a"), (3, "b"), (3, "b")]);
        let wallets: Vec<_> = plan.wallets().iter().map(|w| (w.version, w.balance.units())).collect();
        assert_eq!(wallets, [(3, 0), (3, 0)]);
        assert_eq!(plan.keep, [1], "its refusal is kept");
    }

    #[test]
    fn an_independent_bulk_answers_for_each() {
        let requests = [bulk(Mode::Independent, &[("a", "6"), ("a", "6"), ("x", "1"), ("a", "4")], None)];
        let plan = planned(book(&[("a", 1_000)]), &HashMap::new(), &requests);
        assert_eq!(statuses(&plan), [200]);
        let body: serde_json::Value = serde_json::from_str(&plan.answers[0].body).unwrap();
        let results = body["results"].as_array().unwrap();
        let statuses: Vec<_> = results.iter().map(|result| result["status"].as_i64().unwrap()).collect();
        assert_eq!(statuses, [201, 422, 404, 201]);
        assert_eq!((&body["accepted"], &body["refused"]), (&2.into(), &2.into()));
        assert_eq!(results[2]["field"], "operations[2].walletId");
        assert_eq!(plan.events.len(), 2);
    }
}
