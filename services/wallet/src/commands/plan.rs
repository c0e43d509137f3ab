//! What a batch of requests amounts to: each decided on what the ones before it left, all written together. Pure, as the domain is.

use std::collections::{BTreeSet, HashMap};

use tidegate_settings::Overdraft;
use uuid::Uuid;

use super::{answer, answer::Answer, store::StoredAnswer};
use crate::domain::{self, Book, Command, Decided, Wallet, WalletId};

/// A command, and what came with it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// Under which key, if the caller gave one.
    pub key: Option<IdempotencyKey>,
    /// What everything that follows from it is joined by.
    pub correlation_id: Uuid,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
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
    /// The wallets that change, in the order of their ids.
    pub wallets: Vec<Wallet>,
    /// An answer a request.
    pub answers: Vec<Answer>,
    /// The requests whose answers are to be kept under their keys.
    pub keep: Vec<usize>,
}

/// Plans the batch on the wallets of the book and the answers given before.
pub fn plan(
    mut book: Book,
    given: &HashMap<String, StoredAnswer>,
    requests: &[Request],
    overdraft: Overdraft,
    mut new_id: impl FnMut() -> Uuid,
) -> Plan {
    let mut plan =
        Plan { events: Vec::new(), wallets: Vec::new(), answers: Vec::with_capacity(requests.len()), keep: Vec::new() };
    let mut changed: BTreeSet<WalletId> = BTreeSet::new();
    let mut given_here: HashMap<&str, usize> = HashMap::new();

    for (index, request) in requests.iter().enumerate() {
        if let Some(key) = &request.key {
            let before = match given_here.get(key.key.as_str()) {
                Some(&first) => requests[first].key.as_ref().map(|key| (&key.request_hash[..], &plan.answers[first])),
                None => given.get(&key.key).map(|stored| (&stored.request_hash[..], &stored.answer)),
            };
            if let Some((request_hash, answered)) = before {
                let answer = if request_hash == key.request_hash { answered.clone() } else { answer::key_reused() };
                plan.answers.push(answer);
                continue;
            }
            given_here.insert(&key.key, index);
        }
        let answer = match domain::decide(&book, &request.command, overdraft) {
            Ok(decided) => {
                let answer = answer::accepted(&request.command, &decided);
                for decided in decided {
                    changed.insert(decided.after.id.clone());
                    book.insert(decided.after.id.clone(), decided.after.clone());
                    plan.events.push(Planned { event_id: new_id(), request: index, decided });
                }
                answer
            }
            Err(refusal) => answer::refused(&refusal),
        };
        // What is malformed may be sent right under the same key.
        if request.key.is_some() && !answer.is_malformed() {
            plan.keep.push(index);
        }
        plan.answers.push(answer);
    }
    plan.wallets = changed.iter().filter_map(|id| book.get(id).cloned()).collect();
    plan
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
        };
        wallets.iter().map(|named| (id(named.0), wallet(named))).collect()
    }

    fn withdraw(wallet: &str, amount: &str, key: Option<(&str, u8)>) -> Request {
        Request {
            command: Command::Withdraw {
                wallet: id(wallet),
                movement: Movement {
                    transaction_id: Uuid::nil(),
                    amount: amount.into(),
                    currency: None,
                    reference: None,
                },
            },
            key: key.map(|(key, request)| IdempotencyKey { key: key.into(), request_hash: [request; 32] }),
            correlation_id: Uuid::nil(),
            traceparent: None,
        }
    }

    fn planned(book: Book, given: &HashMap<String, StoredAnswer>, requests: &[Request]) -> Plan {
        plan(book, given, requests, Overdraft::Forbidden, Uuid::nil)
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
        let wallets: Vec<_> = plan.wallets.iter().map(|w| (w.id.as_str(), w.version, w.balance.units())).collect();
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
        assert!(plan.events.is_empty() && plan.wallets.is_empty() && plan.keep.is_empty());
    }

    #[test]
    fn a_refusal_is_kept_and_what_is_malformed_is_not() {
        let requests = [withdraw("a", "6", Some(("refused", 1))), withdraw("a", "six", Some(("malformed", 1)))];
        let plan = planned(book(&[("a", 0)]), &HashMap::new(), &requests);
        assert_eq!((statuses(&plan), plan.keep), (vec![422, 400], vec![0]));
    }
}
