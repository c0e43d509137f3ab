//! The whole path: what commands commit is on the topic once and in order, and the projections are what the topic makes them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Process, Record, Role, World, eventually, story};

async fn open(api: &Process, wallets: &[&str]) {
    for wallet in wallets {
        api.done("/wallets", json!({"walletId": wallet, "ownerId": "o", "currency": "EUR"})).await;
        api.done(&format!("/wallets/{wallet}/deposits"), json!({"amount": "100.00", "reference": "seed"})).await;
    }
}

/// The nth of many transfers of ten cents, round and round.
fn ring(wallets: &[&str], n: usize) -> Value {
    json!({"from": wallets[n % wallets.len()], "to": wallets[(n + 1) % wallets.len()], "amount": "0.10"})
}

/// That many of them, ten at a time.
async fn transfer(api: &Process, wallets: &[&str], count: usize) {
    for start in (0..count).step_by(10) {
        join_all((start..(start + 10).min(count)).map(|n| api.done("/transfers", ring(wallets, n)))).await;
    }
}

/// The events of the event store, as `wallet/version` and their id.
async fn committed(world: &World) -> BTreeMap<(String, i64), String> {
    let rows: Vec<(String, i64, uuid::Uuid)> =
        sqlx::query_as("SELECT wallet_id, version, event_id FROM wallet_events").fetch_all(&world.pool).await.unwrap();
    rows.into_iter().map(|(wallet, version, id)| ((wallet, version), id.to_string())).collect()
}

/// The records by wallet and version; each wallet's versions are 1..n in the order of its one partition.
fn published(records: &[Record]) -> BTreeMap<(String, i64), String> {
    let mut seen: BTreeMap<&str, (i32, i64)> = BTreeMap::new();
    for record in records {
        let version = record.value["aggregateVersion"].as_i64().unwrap();
        let (partition, last) = seen.get(record.key.as_str()).copied().unwrap_or((record.partition, 0));
        assert_eq!((record.partition, version), (partition, last + 1), "{record:?}");
        assert_eq!(record.value["aggregateId"], json!(record.key));
        seen.insert(&record.key, (partition, version));
    }
    records
        .iter()
        .map(|record| {
            let version = record.value["aggregateVersion"].as_i64().unwrap();
            ((record.key.clone(), version), record.value["eventId"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Version and balance (minor units) of each wallet, as the topic makes them.
fn fold(records: &[Record]) -> BTreeMap<String, (i64, i64)> {
    let mut wallets: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for record in records {
        let cents =
            record.value["data"]["amount"].as_str().map_or(0, |amount| amount.replace('.', "").parse().unwrap());
        let sign = match record.value["eventType"].as_str().unwrap() {
            "MoneyWithdrawn" | "TransferSent" => -1,
            _ => 1,
        };
        let wallet = wallets.entry(record.key.clone()).or_default();
        *wallet = (record.value["aggregateVersion"].as_i64().unwrap(), wallet.1 + sign * cents);
    }
    wallets
}

async fn agrees(world: &World) {
    let committed = committed(world).await;
    let records = world.topic(committed.len()).await;
    assert_eq!(records.len(), committed.len(), "each event once");
    assert_eq!(published(&records), committed);
    world.until_caught_up().await;
    let fold = fold(&records);
    assert_eq!(world.balances("wallet_read_model").await, fold);
    assert_eq!(world.balances("wallet_state").await, fold);
    let unbalanced: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT FROM ledger_entries GROUP BY transaction_id HAVING sum(amount) <> 0) AS wrong",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(unbalanced, 0, "each transaction sums to zero");
    let booked: Vec<(String, i64)> =
        sqlx::query_as("SELECT account, sum(amount)::bigint FROM ledger_entries GROUP BY account")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let booked: BTreeMap<_, _> = booked.into_iter().collect();
    for (wallet, (_, balance)) in &fold {
        assert_eq!(booked[wallet], *balance, "the ledger's {wallet}");
    }
    assert_eq!(booked.get("transit:EUR").copied().unwrap_or_default(), 0, "nothing is left in transit");
    assert_eq!(booked["external:EUR"], -fold.values().map(|(_, balance)| balance).sum::<i64>());
}

#[test]
fn what_is_committed_is_published_once_in_order_and_projected() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let _ledger = world.start(Role::Ledger).await;
        let _read_model = world.start(Role::ReadModel).await;
        let wallets = ["a", "b", "c", "d", "e"];
        open(&api, &wallets).await;
        transfer(&api, &wallets, 200).await;
        agrees(world).await;

        let (_, page) = api.get("/wallets/a/ledger?limit=2").await;
        let lines = page["items"].as_array().unwrap();
        assert_eq!(lines.len(), 2, "{page}");
        assert_eq!(
            (&lines[0]["eventType"], &lines[0]["amount"], &lines[0]["counterAccount"], &lines[0]["reference"]),
            (&json!("MoneyDeposited"), &json!("100.00"), &json!("external:EUR"), &json!("seed"))
        );
        assert_eq!(lines[1]["counterAccount"], "transit:EUR");
        assert!(lines[1]["counterparty"].is_string(), "{page}");

        let (_, stored) = api.get("/wallets/a/events?limit=500").await;
        let on_topic: Vec<Value> =
            world.topic(0).await.into_iter().filter(|record| record.key == "a").map(|record| record.value).collect();
        assert_eq!(stored["items"], json!(on_topic), "the API shows events as they are on the topic");
    });
}

#[test]
fn what_is_sent_again_after_everything_was_killed_under_load_happens_once() {
    story(async |world| {
        let wallets = ["a", "b", "c"];
        let api = Arc::new(world.start(Role::Commands).await);
        let ledger = world.start(Role::Ledger).await;
        let read_model = world.start(Role::ReadModel).await;
        open(&api, &wallets).await;

        let answered = Arc::new(AtomicUsize::new(0));
        let sent: Vec<_> = (0..300)
            .map(|n| {
                let (api, answered) = (Arc::clone(&api), Arc::clone(&answered));
                tokio::spawn(async move {
                    let answer = api.try_post_with_key("/transfers", &format!("t-{n}"), ring(&wallets, n)).await.ok();
                    answered.fetch_add(1, Ordering::Relaxed);
                    answer.map(|answer| (n, answer))
                })
            })
            .collect();
        eventually("some are answered, and others are not", async || match answered.load(Ordering::Relaxed) {
            0..20 => Err("not yet".to_owned()),
            _ => Ok(()),
        })
        .await;
        for process in [&api, &ledger, &read_model] {
            process.kill_now();
        }
        let before: BTreeMap<usize, (StatusCode, String)> =
            join_all(sent).await.into_iter().filter_map(Result::unwrap).collect();

        let api = world.start(Role::Commands).await;
        let _ledger = world.start(Role::Ledger).await;
        let _read_model = world.start(Role::ReadModel).await;
        let again =
            join_all((0..300).map(|n| api.post_with_key("/transfers", format!("t-{n}"), ring(&wallets, n)))).await;
        for (n, answer) in again.into_iter().enumerate() {
            assert_eq!(answer.0, StatusCode::CREATED, "{}", answer.1);
            if let Some(first) = before.get(&n) {
                assert_eq!(*first, answer, "transfer {n} is answered as it was before");
            }
        }
        let versions: i64 = world.balances("wallet_state").await.values().map(|(version, _)| version).sum();
        assert_eq!(versions, 3 * 2 + 300 * 2, "each transfer took place once");
        agrees(world).await;
    });
}

#[test]
fn connections_to_the_database_that_are_cut_under_load_cost_nobody_an_answer() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let wallets = ["a", "b", "c", "d", "e", "f", "g", "h"];
        open(&api, &wallets).await;
        let answered = AtomicUsize::new(0);
        // Without keys: it is the service that has to find out whether a commit took place whose answer was cut off.
        let workers = wallets.iter().map(async |wallet| {
            for _ in 0..40 {
                api.done(&format!("/wallets/{wallet}/deposits"), json!({"amount": "1.00"})).await;
                if answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(20) {
                    world.cut_connections().await;
                }
            }
        });
        join_all(workers).await;
        let state = world.balances("wallet_state").await;
        assert!(state.values().all(|wallet| *wallet == (42, 14_000)), "{state:?}");
        let committed = committed(world).await;
        assert_eq!(published(&world.topic(committed.len()).await), committed);
    });
}

#[test]
fn parts_that_start_at_once_on_an_empty_database_take_turns_at_its_tables() {
    story(async |world| {
        let (_one, _other, _ledger, _read_model) = tokio::join!(
            world.start(Role::Commands),
            world.start(Role::Commands),
            world.start(Role::Ledger),
            world.start(Role::ReadModel)
        );
    });
}

#[test]
fn the_health_of_the_way_to_kafka_is_told() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        open(&api, &["a"]).await;
        world.topic(2).await;
        eventually("everything is published and said to be", async || {
            let (_, health) = api.get("/health/kafka").await;
            let fine = json!({"status": "healthy", "producer": {"connected": true},
                "publisher": {"isRunning": true, "unprocessedEvents": 0, "lagMs": 0}});
            if health == fine { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
        let (status, _) = api.get("/health/kafka/stats").await;
        assert!(status.is_success());
    });
}

#[test]
fn a_relay_in_a_process_of_its_own_publishes_what_commands_commit() {
    story(async |world| {
        let api = world.start_with(Role::Commands, json!({"publisher": "Separate"})).await;
        open(&api, &["a", "b"]).await;
        let _publisher = world.start(Role::Publisher).await;
        transfer(&api, &["a", "b"], 20).await;
        let committed = committed(world).await;
        assert_eq!(published(&world.topic(committed.len()).await), committed);
    });
}
