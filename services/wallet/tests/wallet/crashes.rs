//! A process that dies anywhere around its commit, and callers that ask again under the same key: nothing is lost, nothing happens
//! twice, and whoever was answered is answered the same.

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Process, Role, World, story};

const WALLETS: [&str; 3] = ["a", "b", "c"];

async fn open(api: &Process) {
    for wallet in WALLETS {
        api.done("/wallets", json!({"walletId": wallet, "ownerId": "o", "currency": "EUR"})).await;
        api.done(&format!("/wallets/{wallet}/deposits"), json!({"amount": "100.00"})).await;
    }
}

/// The nth request: transfers, holds and bulks by turns.
fn request(n: usize) -> (&'static str, Value) {
    let (from, to) = (WALLETS[n % 3], WALLETS[(n + 1) % 3]);
    match n % 4 {
        0 | 1 => ("/transfers", json!({"from": from, "to": to, "amount": "0.10"})),
        2 => ("/holds", json!({"walletId": from, "amount": "0.01"})),
        _ => (
            "/bulk",
            json!({"mode": "Atomic", "operations": [
                {"type": "Transfer", "from": from, "to": to, "amount": "0.05"},
                {"type": "Deposit", "walletId": to, "amount": "0.02"}]}),
        ),
    }
}

/// The events that requests 0 to n - 1 make.
fn events(n: usize) -> i64 {
    (0..n).map(|n| [2, 2, 1, 3][n % 4]).sum()
}

async fn ask(api: &Process, n: usize) -> Option<(StatusCode, String)> {
    let (path, body) = request(n);
    api.try_post_with_key(path, format!("r-{n}"), body).await.ok()
}

async fn versions(world: &World) -> i64 {
    world.balances("wallet_state").await.values().map(|(version, _)| version).sum()
}

#[test]
fn whoever_dies_around_the_commit_is_made_good_by_asking_again() {
    story(async |world| {
        open(&world.start(Role::Commands).await).await;
        let mut answered: BTreeMap<usize, (StatusCode, String)> = BTreeMap::new();
        let points = ["committer::locked", "committer::written", "committer::committed"];
        let mut asked = 0;
        // Each point at once, and after some batches went well.
        for (point, well) in points.into_iter().flat_map(|point| [(point, 0), (point, 3)]) {
            let mut api = world.start_to_crash(&format!("{point}={well}*off->return")).await;
            let requests = asked..asked + 12;
            asked += 12;
            // A few at a time, so that there is more than one batch.
            for n in requests.clone().step_by(3) {
                for (n, answer) in (n..).zip(join_all((n..n + 3).map(|n| ask(&api, n))).await) {
                    if let Some(answer) = answer {
                        answered.insert(n, answer);
                    }
                }
            }
            api.until_dead().await;
        }
        assert!(answered.len() < asked, "some were not answered");
        assert!(!answered.is_empty(), "some were");

        let (one, other) = (world.start(Role::Commands).await, world.start(Role::Commands).await);
        for n in 0..asked {
            let (here, there) = tokio::join!(ask(&one, n), ask(&other, n));
            let here = here.unwrap();
            assert_eq!(here.0, StatusCode::CREATED, "{n}: {}", here.1);
            assert_eq!(Some(&here), there.as_ref(), "{n}: one answer from both");
            assert_eq!(&here, answered.get(&n).unwrap_or(&here), "{n}: and the one that was given before");
        }
        assert_eq!(versions(world).await, 6 + events(asked), "each happened once");
        let wrong = one.post_with_key("/transfers", "r-0", json!({"from": "a", "to": "b", "amount": "9.99"})).await;
        assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY);
        for wallet in WALLETS {
            assert_eq!(one.get(&format!("/wallets/{wallet}/chain")).await.1["intact"], json!(true));
        }
        let published = world.topic(usize::try_from(6 + events(asked)).unwrap()).await;
        assert_eq!(published.len() as i64, 6 + events(asked), "each event is on the topic once");
    });
}

#[test]
fn the_same_request_at_two_processes_at_once_has_one_effect() {
    story(async |world| {
        let one = world.start(Role::Commands).await;
        let other = world.start(Role::Commands).await;
        open(&one).await;
        for round in 0..15 {
            let at = |n: usize| if n.is_multiple_of(2) { &one } else { &other };
            let answers = join_all((0..6).map(|n| ask(at(n), round))).await;
            let first = answers[0].as_ref().unwrap();
            assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
            assert!(answers.iter().all(|answer| answer.as_ref() == Some(first)), "{answers:?}");
        }
        assert_eq!(versions(world).await, 6 + events(15));
    });
}
