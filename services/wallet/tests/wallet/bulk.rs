//! Many commands in one request.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Process, Role, story};

fn open(wallet: &str) -> Value {
    json!({"type": "Open", "walletId": wallet, "ownerId": "o", "currency": "EUR"})
}

fn deposit(wallet: &str, amount: &str) -> Value {
    json!({"type": "Deposit", "walletId": wallet, "amount": amount})
}

fn transfer(from: &str, to: &str, amount: &str) -> Value {
    json!({"type": "Transfer", "from": from, "to": to, "amount": amount})
}

async fn bulk(api: &Process, mode: &str, operations: &[Value]) -> (StatusCode, Value) {
    api.post("/bulk", json!({"mode": mode, "operations": operations})).await
}

#[test]
fn an_atomic_bulk_happens_as_a_whole_or_not_at_all() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let operations = [
            open("a"),
            open("b"),
            deposit("a", "10.00"),
            transfer("a", "b", "2.50"),
            json!({"type": "Withdraw", "walletId": "b", "amount": "0.50"}),
            json!({"type": "Hold", "walletId": "a", "amount": "1.00"}),
        ];
        let (status, done) = bulk(&api, "Atomic", &operations).await;
        assert_eq!(
            (status, &done["accepted"], &done["refused"]),
            (StatusCode::CREATED, &json!(6), &json!(0)),
            "{done}"
        );
        assert_eq!(done["results"][3]["to"], json!({"walletId": "b", "version": 2, "balance": "2.50"}));
        let hold = &done["results"][5]["holdId"];
        let before = world.balances("wallet_state").await;
        assert_eq!(before["a"], (4, 750));

        let refused = [
            (transfer("a", "b", "7.51"), 422, "insufficient-funds", "operations[2].amount"),
            (json!({"type": "Release", "holdId": uuid::Uuid::nil()}), 404, "unknown-hold", "operations[2].holdId"),
            (deposit("a", "ten"), 400, "invalid-amount", "operations[2].amount"),
            (json!({"type": "Deposit", "walletId": "a"}), 400, "missing-field", "operations[2].amount"),
            (json!({"type": "Burn", "walletId": "a"}), 400, "invalid-text", "operations[2].type"),
            (
                json!({"type": "Open", "walletId": "c", "ownerId": "o", "currency": "EUR", "x": "y"}),
                400,
                "unknown-field",
                "operations[2].x",
            ),
            (json!("Deposit"), 400, "malformed-body", "operations[2]"),
        ];
        for (culprit, status, kind, field) in refused {
            let (answered, problem) =
                bulk(&api, "Atomic", &[deposit("b", "1.00"), json!({"type": "Release", "holdId": hold}), culprit])
                    .await;
            assert_eq!(
                (answered.as_u16(), &problem["type"], &problem["field"]),
                (status, &json!(format!("https://tidegate.dev/problems/{kind}")), &json!(field)),
                "{problem}"
            );
            assert_eq!(world.balances("wallet_state").await, before, "nothing of it happened");
        }
    });
}

#[test]
fn an_independent_bulk_is_answered_operation_by_operation() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let operations = [
            open("a"),
            deposit("a", "1.00"),
            deposit("x", "1.00"),
            open("a"),
            json!({"type": "Withdraw", "walletId": "a", "amount": "2"}),
        ];
        let (status, done) = bulk(&api, "Independent", &operations).await;
        assert_eq!((status, &done["accepted"], &done["refused"]), (StatusCode::OK, &json!(2), &json!(3)));
        let statuses: Vec<_> =
            done["results"].as_array().unwrap().iter().map(|result| result["status"].as_i64().unwrap()).collect();
        assert_eq!(statuses, [201, 201, 404, 409, 422]);
        assert_eq!(done["results"][4]["field"], "operations[4].amount");
        assert_eq!(world.balances("wallet_state").await["a"], (2, 100));
    });
}

#[test]
fn a_key_covers_the_whole_bulk_and_its_size_is_bounded() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        bulk(&api, "Atomic", &[open("a")]).await;
        let most: Vec<Value> = (0..1000).map(|_| deposit("a", "0.01")).collect();
        let body = json!({"mode": "Atomic", "operations": most});
        let first = api.post_with_key("/bulk", "k", &body).await;
        assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
        assert_eq!(api.post_with_key("/bulk", "k", &body).await, first);
        assert_eq!(world.balances("wallet_state").await["a"], (1001, 1000));
        let (status, _) =
            api.post_with_key("/bulk", "k", json!({"mode": "Independent", "operations": [deposit("a", "1")]})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

        let more: Vec<Value> = (0..1001).map(|_| deposit("a", "0.01")).collect();
        for (body, kind, field) in [
            (json!({"mode": "Atomic", "operations": more}), "too-many-operations", "operations"),
            (json!({"mode": "Atomic", "operations": []}), "too-many-operations", "operations"),
            (json!({"mode": "Atomic", "operations": "all"}), "wrong-field-type", "operations"),
            (json!({"mode": "Atomic"}), "missing-field", "operations"),
            (json!({"mode": "Some", "operations": [open("z")]}), "invalid-text", "mode"),
        ] {
            let (status, problem) = api.post("/bulk", body).await;
            let said = (status.as_u16(), &problem["type"], &problem["field"]);
            assert_eq!(
                said,
                (400, &json!(format!("https://tidegate.dev/problems/{kind}")), &json!(field)),
                "{problem}"
            );
        }
        assert_eq!(world.balances("wallet_state").await["a"], (1001, 1000));
    });
}
