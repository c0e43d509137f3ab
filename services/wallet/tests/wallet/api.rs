//! The API as callers see it: what is accepted, what is refused and how, what is kept under a key.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Process, Role, story};

fn opening(wallet: &str, currency: &str) -> Value {
    json!({"walletId": wallet, "ownerId": format!("owner-of-{wallet}"), "currency": currency})
}

async fn two_wallets(api: &Process) {
    api.done("/wallets", opening("ada", "EUR")).await;
    api.done("/wallets", opening("bob", "EUR")).await;
    api.done("/wallets/ada/deposits", json!({"amount": "10.00"})).await;
}

#[test]
fn money_comes_in_moves_and_leaves() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let opened = api.done("/wallets", opening("ada", "EUR")).await;
        assert_eq!(
            opened,
            json!({"walletId": "ada", "ownerId": "owner-of-ada", "currency": "EUR", "version": 1, "balance": "0.00"})
        );
        let named_by_us = api.done("/wallets", json!({"ownerId": "bob", "currency": "JPY"})).await;
        assert_eq!(named_by_us["balance"], "0", "a yen has no decimals");
        let id = named_by_us["walletId"].as_str().unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);

        let deposited = api.done("/wallets/ada/deposits", json!({"amount": "12.34", "reference": "wages"})).await;
        assert_eq!((&deposited["version"], &deposited["balance"]), (&json!(2), &json!("12.34")));
        uuid::Uuid::parse_str(deposited["transactionId"].as_str().unwrap()).unwrap();
        let withdrawn = api.done("/wallets/ada/withdrawals", json!({"amount": "2.34"})).await;
        assert_eq!((&withdrawn["version"], &withdrawn["balance"]), (&json!(3), &json!("10.00")));

        api.done("/wallets", opening("bob", "EUR")).await;
        let moved = api.done("/transfers", json!({"from": "ada", "to": "bob", "amount": "2.5"})).await;
        assert_eq!(moved["from"], json!({"walletId": "ada", "version": 4, "balance": "7.50"}));
        assert_eq!(moved["to"], json!({"walletId": "bob", "version": 2, "balance": "2.50"}));
    });
}

#[test]
fn a_wallet_that_the_read_model_has_not_seen_is_answered_all_the_same() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        two_wallets(&api).await;
        let (status, ada) = api.get("/wallets/ada").await;
        assert_eq!(status, StatusCode::OK, "{ada}");
        assert_eq!(
            (&ada["version"], &ada["balance"], &ada["ownerId"]),
            (&json!(2), &json!("10.00"), &json!("owner-of-ada"))
        );
        let (status, ledger) = api.get("/wallets/ada/ledger").await;
        assert_eq!((status, ledger), (StatusCode::OK, json!({"walletId": "ada", "items": [], "next": null})));
    });
}

#[test]
fn lists_are_paged() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        api.done("/wallets", opening("ada", "EUR")).await;
        for n in 1..=4 {
            api.done("/wallets/ada/deposits", json!({"amount": format!("{n}.00"), "reference": format!("no {n}")}))
                .await;
        }
        let mut versions = Vec::new();
        let mut path = "/wallets/ada/events?limit=2".to_owned();
        loop {
            let (status, page) = api.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            versions.extend(items.iter().map(|event| event["aggregateVersion"].as_i64().unwrap()));
            match page["next"].as_i64() {
                Some(next) => path = format!("/wallets/ada/events?limit=2&after={next}"),
                None => break,
            }
        }
        assert_eq!(versions, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn every_refusal_has_a_type_and_names_the_field() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        two_wallets(&api).await;
        api.done("/wallets", opening("yen", "JPY")).await;
        api.done("/wallets", opening("full", "EUR")).await;
        api.done("/wallets/full/deposits", json!({"amount": "92233720368547758.07"})).await;
        let before = world.balances("wallet_state").await;

        let deposit = "/wallets/ada/deposits";
        let withdrawal = "/wallets/ada/withdrawals";
        let amount = |amount: &str| json!({"amount": amount});
        let transfer = |from: &str, to: &str, amount: &str| json!({"from": from, "to": to, "amount": amount});
        for (path, body, status, kind, field) in [
            (deposit, json!("text"), 400, "malformed-body", None),
            (deposit, json!([]), 400, "malformed-body", None),
            (deposit, json!({}), 400, "missing-field", Some("amount")),
            (deposit, json!({"amount": null}), 400, "missing-field", Some("amount")),
            (deposit, json!({"amount": 12.34}), 400, "wrong-field-type", Some("amount")),
            (deposit, json!({"amount": 12}), 400, "wrong-field-type", Some("amount")),
            (deposit, json!({"amount": "1", "amuont": "1"}), 400, "unknown-field", Some("amuont")),
            (deposit, json!({"amount": "1", "reference": 7}), 400, "wrong-field-type", Some("reference")),
            (deposit, json!({"amount": "1", "reference": "nul\0"}), 400, "invalid-text", Some("reference")),
            (deposit, json!({"amount": "1", "reference": "x".repeat(141)}), 400, "invalid-text", Some("reference")),
            (deposit, json!({"amount": "1", "currency": "Euro"}), 400, "invalid-currency", Some("currency")),
            (deposit, json!({"amount": "1", "currency": "USD"}), 422, "wrong-currency", Some("currency")),
            (deposit, amount(""), 400, "invalid-amount", Some("amount")),
            (deposit, amount("ten"), 400, "invalid-amount", Some("amount")),
            (deposit, amount("1e3"), 400, "invalid-amount", Some("amount")),
            (deposit, amount("1,50"), 400, "invalid-amount", Some("amount")),
            (deposit, amount("NaN"), 400, "invalid-amount", Some("amount")),
            (deposit, amount(&"9".repeat(25)), 400, "amount-too-long", Some("amount")),
            (deposit, amount(&"9".repeat(10_000)), 400, "amount-too-long", Some("amount")),
            (deposit, amount(&"9".repeat(24)), 422, "amount-too-large", Some("amount")),
            (deposit, amount("1.001"), 422, "amount-too-precise", Some("amount")),
            (deposit, amount("0"), 422, "zero-amount", Some("amount")),
            (deposit, amount("0.00"), 422, "zero-amount", Some("amount")),
            (deposit, amount("-1"), 422, "negative-amount", Some("amount")),
            ("/wallets/yen/deposits", amount("1.5"), 422, "amount-too-precise", Some("amount")),
            ("/wallets/full/deposits", amount("0.01"), 422, "balance-overflow", Some("amount")),
            ("/wallets/nobody/deposits", amount("1"), 404, "unknown-wallet", Some("walletId")),
            ("/wallets/no%20body/deposits", amount("1"), 400, "invalid-id", Some("walletId")),
            ("/wallets/%ff/deposits", amount("1"), 400, "invalid-id", Some("walletId")),
            (withdrawal, amount("10.01"), 422, "insufficient-funds", Some("amount")),
            (withdrawal, amount("-1"), 422, "negative-amount", Some("amount")),
            ("/transfers", transfer("ada", "bob", "10.01"), 422, "insufficient-funds", Some("amount")),
            ("/transfers", transfer("ada", "bob", "0"), 422, "zero-amount", Some("amount")),
            ("/transfers", transfer("ada", "ada", "1"), 422, "transfer-to-self", Some("to")),
            ("/transfers", transfer("ada", "yen", "1"), 422, "currency-mismatch", Some("to")),
            ("/transfers", transfer("ada", "full", "1"), 422, "balance-overflow", Some("amount")),
            ("/transfers", transfer("nobody", "ada", "1"), 404, "unknown-wallet", Some("from")),
            ("/transfers", transfer("ada", "nobody", "1"), 404, "unknown-wallet", Some("to")),
            ("/transfers", transfer("", "ada", "1"), 400, "invalid-id", Some("from")),
            ("/transfers", json!({"from": "ada", "amount": "1"}), 400, "missing-field", Some("to")),
            ("/wallets", opening("ada", "EUR"), 409, "wallet-exists", Some("walletId")),
            ("/wallets", opening("a/b", "EUR"), 400, "invalid-id", Some("walletId")),
            ("/wallets", opening(&"w".repeat(65), "EUR"), 400, "invalid-id", Some("walletId")),
            ("/wallets", opening("new", "eur"), 400, "invalid-currency", Some("currency")),
            ("/wallets", opening("new", "XXX"), 400, "invalid-currency", Some("currency")),
            ("/wallets", json!({"ownerId": "", "currency": "EUR"}), 400, "invalid-text", Some("ownerId")),
            ("/wallets", json!({"currency": "EUR"}), 400, "missing-field", Some("ownerId")),
            ("/wallets", json!({"ownerId": "o"}), 400, "missing-field", Some("currency")),
        ] {
            let (answered, problem) = api.post(path, &body).await;
            let case = format!("{path} {body:.200} -> {answered} {problem}");
            assert_eq!(answered.as_u16(), status, "{case}");
            assert_eq!(problem["status"], json!(status), "{case}");
            assert_eq!(problem["type"], json!(format!("https://tidegate.dev/problems/{kind}")), "{case}");
            assert_eq!(problem.get("field").and_then(Value::as_str), field, "{case}");
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{case}");
        }
        for (path, status, field) in [
            ("/wallets/nobody", 404, "walletId"),
            ("/wallets/nobody/ledger", 404, "walletId"),
            ("/wallets/nobody/events", 404, "walletId"),
            ("/wallets/no%20body", 400, "walletId"),
            ("/wallets/ada/ledger?limit=0", 400, "limit"),
            ("/wallets/ada/events?limit=501", 400, "limit"),
            ("/wallets/ada/events?after=x", 400, "after"),
            ("/wallets/ada/events?from=1", 400, "from"),
        ] {
            let (answered, problem) = api.get(path).await;
            assert_eq!((answered.as_u16(), problem["field"].as_str()), (status, Some(field)), "{path}: {problem}");
        }
        assert_eq!(world.balances("wallet_state").await, before, "a refusal changes nothing");
    });
}

#[test]
fn an_overdraft_is_taken_where_the_settings_allow_it() {
    story(async |world| {
        let api = world.start_with(Role::Commands, json!({"overdraft": "Allowed"})).await;
        two_wallets(&api).await;
        let moved = api.done("/transfers", json!({"from": "ada", "to": "bob", "amount": "15.00"})).await;
        assert_eq!(moved["from"]["balance"], "-5.00");
    });
}

#[test]
fn the_same_key_gets_the_same_answer_and_has_one_effect() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        two_wallets(&api).await;
        let deposit = json!({"amount": "1.00", "reference": "once"});
        let first = api.post_with_key("/wallets/ada/deposits", "k-1", &deposit).await;
        assert_eq!(first.0, StatusCode::CREATED);
        assert_eq!(api.post_with_key("/wallets/ada/deposits", "k-1", &deposit).await, first);
        let reordered = r#"{ "reference":"once",   "amount":"1.00" }"#;
        assert_eq!(api.post_with_key("/wallets/ada/deposits", "k-1", reordered).await, first, "it says the same");

        for (path, body) in [
            ("/wallets/ada/deposits", json!({"amount": "2.00", "reference": "once"})),
            ("/wallets/ada/withdrawals", deposit.clone()),
            ("/wallets/bob/deposits", deposit.clone()),
        ] {
            let (status, problem) = api.post_with_key(path, "k-1", body).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {problem}");
            assert!(problem.contains("problems/idempotency-key-reused"), "{problem}");
        }

        let refused = api.post_with_key("/wallets/ada/withdrawals", "k-2", json!({"amount": "100.00"})).await;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
        api.done("/wallets/ada/deposits", json!({"amount": "1000.00"})).await;
        let again = api.post_with_key("/wallets/ada/withdrawals", "k-2", json!({"amount": "100.00"})).await;
        assert_eq!(again, refused, "a refusal is an answer too");

        let (status, _) = api.post_with_key("/wallets/ada/deposits", "k-3", json!({"amount": "one"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let (status, _) = api.post_with_key("/wallets/ada/deposits", "k-3", json!({"amount": "1"})).await;
        assert_eq!(status, StatusCode::CREATED, "what was malformed may be sent right under the same key");

        for key in ["", "with space", &"k".repeat(256)] {
            let (status, problem) = api.post_with_key("/wallets/ada/deposits", key, json!({"amount": "1"})).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{key:?}: {problem}");
            assert!(problem.contains("problems/invalid-idempotency-key"), "{problem}");
        }
    });
}

#[test]
fn identical_requests_at_once_have_one_effect_and_one_answer_also_at_two_processes() {
    story(async |world| {
        let one = world.start(Role::Commands).await;
        let other = world.start(Role::Commands).await;
        two_wallets(&one).await;
        for round in 0..10 {
            let key = format!("round-{round}");
            let deposit = json!({"amount": "1.00", "reference": key});
            let calls = (0..16).map(|n| {
                let api = if n % 2 == 0 { &one } else { &other };
                api.post_with_key("/wallets/ada/deposits", &key, &deposit)
            });
            let answers = join_all(calls).await;
            assert_eq!(answers[0].0, StatusCode::CREATED, "{answers:?}");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
        assert_eq!(world.balances("wallet_state").await["ada"], (12, 2_000));
    });
}

#[test]
fn keys_and_wallets_survive_the_death_of_the_process() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        two_wallets(&api).await;
        let deposit = json!({"amount": "1.00"});
        let first = api.post_with_key("/wallets/ada/deposits", "k", &deposit).await;
        api.kill_now();

        let api = world.start(Role::Commands).await;
        assert_eq!(api.post_with_key("/wallets/ada/deposits", "k", &deposit).await, first);
        let next = api.done("/wallets/ada/deposits", &deposit).await;
        assert_eq!((&next["version"], &next["balance"]), (&json!(4), &json!("12.00")));
        assert!(api.stop().await.success(), "asked to end, it ends well");
    });
}

#[test]
fn two_processes_never_disagree_about_a_wallet() {
    story(async |world| {
        let one = world.start(Role::Commands).await;
        let other = world.start(Role::Commands).await;
        let wallets = ["a", "b", "c", "d"];
        for wallet in wallets {
            one.done("/wallets", opening(wallet, "EUR")).await;

            one.done(&format!("/wallets/{wallet}/deposits"), json!({"amount": "100.00"})).await;
        }
        // Transfers in a ring in both directions: wallets in opposite orders, from both processes at once.
        let transfers = (0..200).map(|n| {
            let (from, to) = (wallets[n % 4], wallets[(n + 1 + n / 4 % 3) % 4]);
            let api = if n % 2 == 0 { &one } else { &other };
            api.post("/transfers", json!({"from": from, "to": to, "amount": "0.10"}))
        });
        for (status, answer) in join_all(transfers).await {
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
        let state = world.balances("wallet_state").await;
        assert_eq!(state.values().map(|(_, balance)| balance).sum::<i64>(), 40_000);
        let versions: i64 = state.values().map(|(version, _)| version).sum();
        let events: i64 =
            sqlx::query_scalar("SELECT count(*) FROM wallet_events").fetch_one(&world.pool).await.unwrap();
        assert_eq!(events, versions);
        assert_eq!(versions, 4 + 4 + 400, "each opening and deposit is an event, each transfer two");
    });
}

#[test]
fn the_api_describes_itself() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let (status, document) = api.get("/openapi.json").await;
        assert_eq!(status, StatusCode::OK);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        for (path, method) in [
            ("/wallets", "post"),
            ("/wallets/{walletId}/deposits", "post"),
            ("/wallets/{walletId}/withdrawals", "post"),
            ("/transfers", "post"),
            ("/holds", "post"),
            ("/holds/{holdId}/capture", "post"),
            ("/holds/{holdId}/release", "post"),
            ("/holds/{holdId}", "get"),
            ("/bulk", "post"),
            ("/reconciliation", "get"),
            ("/wallets/{walletId}", "get"),
            ("/wallets/{walletId}/chain", "get"),
            ("/wallets/{walletId}/ledger", "get"),
            ("/wallets/{walletId}/events", "get"),
            ("/health/kafka", "get"),
            ("/health/kafka/stats", "get"),
        ] {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
        let refused = &document["paths"]["/transfers"]["post"]["responses"]["422"];
        assert!(refused["content"]["application/problem+json"].is_object(), "{refused}");
    });
}

#[test]
fn it_runs_from_environment_variables_and_without_kafka() {
    story(async |world| {
        let api = world.start_from_environment().await;
        two_wallets(&api).await;
        let (_, health) = api.get("/health").await;
        assert_eq!((&health["status"], &health["kafka_enabled"]), (&json!("healthy"), &json!(false)));
        let (status, health) = api.get("/health/kafka").await;
        assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("elsewhere")));
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM tidegate.outbox").fetch_one(&world.pool).await.unwrap();
        assert_eq!(waiting, 3, "events wait until somebody publishes them");
    });
}
