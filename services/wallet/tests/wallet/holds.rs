//! Money on hold, from the request to the ledger.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Process, Role, World, story};

async fn wallets(api: &Process) {
    for wallet in ["ada", "bob"] {
        api.done("/wallets", json!({"walletId": wallet, "ownerId": "o", "currency": "EUR"})).await;
    }
    api.done("/wallets/ada/deposits", json!({"amount": "10.00"})).await;
}

async fn hold(api: &Process, amount: &str) -> String {
    let held = api.done("/holds", json!({"walletId": "ada", "amount": amount, "reference": "room 12"})).await;
    held["holdId"].as_str().unwrap().to_owned()
}

#[test]
fn money_on_hold_is_set_aside_captured_and_released() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        wallets(&api).await;
        let placed = api.done("/holds", json!({"walletId": "ada", "amount": "8.00", "reference": "room 12"})).await;
        let id = placed["holdId"].as_str().unwrap().to_owned();
        assert_eq!(
            placed,
            json!({"holdId": id, "walletId": "ada", "version": 3, "amount": "8.00", "balance": "10.00", "held": "8.00",
                   "available": "2.00", "currency": "EUR"})
        );
        let (status, problem) = api.post("/wallets/ada/withdrawals", json!({"amount": "2.01"})).await;
        assert_eq!(
            (status, &problem["detail"]),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!("the wallet ada holds 10.00 EUR, of which 8.00 are on hold, less than 2.01")
            )
        );
        let (_, wallet) = api.get("/wallets/ada").await;
        assert_eq!(
            (&wallet["balance"], &wallet["held"], &wallet["available"], &wallet["holds"][0]["holdId"]),
            (&json!("10.00"), &json!("8.00"), &json!("2.00"), &json!(id))
        );
        let (_, shown) = api.get(&format!("/holds/{id}")).await;
        assert_eq!(
            (&shown["status"], &shown["captured"], &shown["settledAt"], &shown["reference"]),
            (&json!("Held"), &Value::Null, &Value::Null, &json!("room 12"))
        );

        let captured = api.done(&format!("/holds/{id}/capture"), json!({"amount": "5.00", "to": "bob"})).await;
        assert_eq!(
            (&captured["captured"], &captured["balance"], &captured["held"], &captured["available"], &captured["to"]),
            (
                &json!("5.00"),
                &json!("5.00"),
                &json!("0.00"),
                &json!("5.00"),
                &json!({"walletId": "bob", "version": 2, "balance": "5.00"})
            )
        );
        let (_, shown) = api.get(&format!("/holds/{id}")).await;
        assert_eq!(
            (&shown["status"], &shown["captured"], &shown["to"]),
            (&json!("Captured"), &json!("5.00"), &json!("bob"))
        );

        let other = hold(&api, "5.00").await;
        let released = api.done(&format!("/holds/{other}/release"), "").await;
        assert_eq!((&released["available"], &released["captured"]), (&json!("5.00"), &json!("0.00")));
        let (_, wallet) = api.get("/wallets/ada").await;
        assert_eq!((&wallet["held"], &wallet["holds"]), (&json!("0.00"), &json!([])));
    });
}

#[test]
fn a_hold_that_cannot_be_ended_says_why() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        wallets(&api).await;
        api.done("/wallets", json!({"walletId": "yen", "ownerId": "o", "currency": "JPY"})).await;
        let (open, ended) = (hold(&api, "1.00").await, hold(&api, "1.00").await);
        api.done(&format!("/holds/{ended}/release"), json!({})).await;
        let nobody = uuid::Uuid::now_v7();
        let before = world.balances("wallet_state").await;
        for (path, body, status, kind, field) in [
            (format!("/holds/{ended}/capture"), json!({}), 409, "hold-settled", "holdId"),
            (format!("/holds/{ended}/release"), json!({}), 409, "hold-settled", "holdId"),
            (format!("/holds/{nobody}/capture"), json!({}), 404, "unknown-hold", "holdId"),
            (format!("/holds/{nobody}/release"), json!({}), 404, "unknown-hold", "holdId"),
            ("/holds/12/release".to_owned(), json!({}), 400, "invalid-id", "holdId"),
            (format!("/holds/{open}/capture"), json!({"amount": "1.01"}), 422, "capture-exceeds-hold", "amount"),
            (format!("/holds/{open}/capture"), json!({"amount": "0"}), 422, "zero-amount", "amount"),
            (format!("/holds/{open}/capture"), json!({"to": "ada"}), 422, "transfer-to-self", "to"),
            (format!("/holds/{open}/capture"), json!({"to": "nobody"}), 404, "unknown-wallet", "to"),
            (format!("/holds/{open}/capture"), json!({"to": "yen"}), 422, "currency-mismatch", "to"),
            (format!("/holds/{open}/capture"), json!({"currency": "USD"}), 422, "wrong-currency", "currency"),
            ("/holds".to_owned(), json!({"walletId": "ada", "amount": "9.01"}), 422, "insufficient-funds", "amount"),
            (
                "/holds".to_owned(),
                json!({"walletId": "ada", "amount": "1", "expiresIn": "1h"}),
                400,
                "unknown-field",
                "expiresIn",
            ),
            ("/holds".to_owned(), json!({"amount": "1"}), 400, "missing-field", "walletId"),
            ("/holds".to_owned(), json!({"walletId": "nobody", "amount": "1"}), 404, "unknown-wallet", "walletId"),
        ] {
            let (answered, problem) = api.post(&path, &body).await;
            let said = (answered.as_u16(), problem["type"].as_str().unwrap(), problem["field"].as_str().unwrap());
            let expected = format!("https://tidegate.dev/problems/{kind}");
            assert_eq!(said, (status, expected.as_str(), field), "{path} {body}");
        }
        assert_eq!(api.get(&format!("/holds/{nobody}")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(world.balances("wallet_state").await, before, "a refusal changes nothing");
    });
}

/// Of a currency: what the ledger has on each account that is no wallet.
async fn accounts(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT account, sum(amount)::bigint FROM ledger_entries WHERE account_kind <> 'Wallet' GROUP BY account ORDER BY 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[test]
fn the_projections_know_of_holds() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let _ledger = world.start(Role::Ledger).await;
        let _read_model = world.start(Role::ReadModel).await;
        wallets(&api).await;
        let (one, two) = (hold(&api, "4.00").await, hold(&api, "3.00").await);
        let _open = hold(&api, "2.00").await;
        api.done(&format!("/holds/{one}/capture"), json!({"amount": "1.50"})).await;
        api.done(&format!("/holds/{two}/capture"), json!({"to": "bob"})).await;
        world.until_caught_up().await;

        let held = async |table: &str| -> Vec<(String, i64, i64, i64)> {
            let query = format!("SELECT wallet_id, version, balance, held FROM {table} ORDER BY 1");
            sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&world.pool).await.unwrap()
        };
        let expected = [("ada".to_owned(), 7, 550, 200), ("bob".to_owned(), 2, 300, 0)];
        assert_eq!(held("wallet_read_model").await, expected);
        assert_eq!(held("wallet_state").await, expected);
        assert_eq!(accounts(world).await, [("external:EUR".to_owned(), -850), ("transit:EUR".to_owned(), 0)]);

        let (_, page) = api.get("/wallets/ada/ledger").await;
        let lines: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| {
                (
                    line["version"].as_i64().unwrap(),
                    line["amount"].as_str().unwrap(),
                    line["counterAccount"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(lines, [(2, "10.00", "external:EUR"), (6, "-1.50", "external:EUR"), (7, "-3.00", "transit:EUR")]);
        let unordered: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT version < lag(version) OVER (PARTITION BY wallet_id ORDER BY entry) AS back
                                   FROM ledger_entries) AS booked WHERE back",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!(unordered, 0, "entries are numbered in the order of versions");
    });
}
