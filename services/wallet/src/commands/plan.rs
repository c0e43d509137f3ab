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
