//! Everything that says how much money there is says the same, and whoever does not is found.

use serde_json::{Value, json};

use crate::world::{Process, Role, World, story};

async fn report(api: &Process) -> Value {
    let (status, report) = api.get("/reconciliation?maxAge=0").await;
    assert!(status.is_success(), "{report}");
    report
}

async fn sql(world: &World, statement: &'static str) {
    let done = sqlx::query(statement).execute(&world.pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

async fn business(api: &Process) {
    for (wallet, currency) in [("ada", "EUR"), ("bob", "EUR"), ("yen", "JPY")] {
        api.done("/wallets", json!({"walletId": wallet, "ownerId": "o", "currency": currency})).await;
    }
    api.done("/wallets/ada/deposits", json!({"amount": "10.00"})).await;
    api.done("/wallets/yen/deposits", json!({"amount": "700"})).await;
    api.done("/transfers", json!({"from": "ada", "to": "bob", "amount": "3.00"})).await;
    api.done("/wallets/bob/withdrawals", json!({"amount": "0.50"})).await;
    let hold = api.done("/holds", json!({"walletId": "ada", "amount": "2.00"})).await;
    let path = format!("/holds/{}/capture", hold["holdId"].as_str().unwrap());
    api.done(&path, json!({"amount": "1.50", "to": "bob"})).await;
    api.done("/holds", json!({"walletId": "ada", "amount": "1.25"})).await;
}

#[test]
fn what_agrees_is_said_to_agree_and_what_is_behind_to_be_behind() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let empty = report(&api).await;
        assert_eq!((&empty["status"], &empty["currencies"]), (&json!("Agrees"), &json!([])));
        business(&api).await;
        let behind = report(&api).await;
        assert_eq!(behind["status"], "Behind", "{behind}");
        assert_eq!(
            (&behind["wallets"]["ledgerBehindEvents"], &behind["wallets"]["readModelBehindEvents"]),
            (&json!(12), &json!(12))
        );
        assert_eq!(behind["wallets"]["differing"], 0, "{behind}");

        let _ledger = world.start(Role::Ledger).await;
        let _read_model = world.start(Role::ReadModel).await;
        world.until_caught_up().await;
        let caught_up = report(&api).await;
        assert_eq!(caught_up["status"], "Agrees", "{caught_up}");
        assert_eq!(
            caught_up["currencies"],
            json!([
                {"currency": "EUR", "wallets": 2, "events": "9.50", "balances": "9.50", "held": "1.25", "readModel": "9.50",
                 "eventsInReadModel": "9.50", "ledger": "9.50", "eventsInLedger": "9.50", "external": "-9.50", "transit": "0.00",
                 "credits": "19.50", "debits": "19.50"},
                {"currency": "JPY", "wallets": 1, "events": "700", "balances": "700", "held": "0", "readModel": "700",
                 "eventsInReadModel": "700", "ledger": "700", "eventsInLedger": "700", "external": "-700", "transit": "0",
                 "credits": "700", "debits": "700"}
            ])
        );
        assert_eq!(caught_up["chains"], json!({"wallets": 3, "events": 12, "broken": 0, "first": []}));

        let (_, again) = api.get("/reconciliation").await;
        assert_eq!(again, caught_up, "one that is young enough is shown again");
        let other = world.start(Role::Commands).await;
        assert_eq!(other.get("/reconciliation?maxAge=600").await.1, caught_up, "by every process");
        assert_eq!(api.get("/reconciliation?maxAge=x").await.1["field"], "maxAge");
    });
}

#[test]
fn whoever_says_something_else_is_named() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let ledger = world.start(Role::Ledger).await;
        let read_model = world.start(Role::ReadModel).await;
        business(&api).await;
        world.until_caught_up().await;
        assert!(ledger.stop().await.success() && read_model.stop().await.success());
        for (wrong, right, wallet, who) in [
            (
                "UPDATE wallet_state SET balance = balance + 1 WHERE wallet_id = 'bob'",
                "UPDATE wallet_state SET balance = balance - 1 WHERE wallet_id = 'bob'",
                "bob",
                "State",
            ),
            (
                "UPDATE wallet_read_model SET balance = balance + 1 WHERE wallet_id = 'bob'",
                "UPDATE wallet_read_model SET balance = balance - 1 WHERE wallet_id = 'bob'",
                "bob",
                "ReadModel",
            ),
            (
                "UPDATE wallet_read_model SET held = held + 1 WHERE wallet_id = 'ada'",
                "UPDATE wallet_read_model SET held = held - 1 WHERE wallet_id = 'ada'",
                "ada",
                "ReadModel",
            ),
            (
                "UPDATE ledger_entries SET amount = amount + 1 WHERE wallet_id = 'yen' AND line = 1",
                "UPDATE ledger_entries SET amount = amount - 1 WHERE wallet_id = 'yen' AND line = 1",
                "yen",
                "Ledger",
            ),
            (
                "UPDATE wallet_holds SET amount = amount + 1 WHERE settled IS NULL",
                "UPDATE wallet_holds SET amount = amount - 1 WHERE settled IS NULL",
                "ada",
                "Holds",
            ),
            (
                "UPDATE ledger_watermarks SET version = version + 1 WHERE wallet_id = 'bob'",
                "UPDATE ledger_watermarks SET version = version - 1 WHERE wallet_id = 'bob'",
                "bob",
                "Ledger",
            ),
        ] {
            sql(world, wrong).await;
            let differs = report(&api).await;
            assert_eq!(
                (&differs["status"], &differs["wallets"]["first"]),
                (&json!("Differs"), &json!([{"walletId": wallet, "who": [who]}])),
                "{wrong}: {differs}"
            );
            sql(world, right).await;
            assert_eq!(report(&api).await["status"], "Agrees", "{right}");
        }
        // A projection that is behind is compared at the version that it has come to.
        api.done("/transfers", json!({"from": "bob", "to": "ada", "amount": "1.00"})).await;
        let behind = report(&api).await;
        assert_eq!(
            (&behind["status"], &behind["wallets"]["ledgerBehindEvents"]),
            (&json!("Behind"), &json!(2)),
            "{behind}"
        );

        sql(
            world,
            "UPDATE wallet_events SET correlation_id = gen_random_uuid() WHERE wallet_id = 'bob' AND version = 3",
        )
        .await;
        let broken = report(&api).await;
        assert_eq!(
            (&broken["status"], &broken["chains"]["first"]),
            (&json!("Differs"), &json!([{"walletId": "bob", "firstBroken": {"version": 3, "reason": "Altered"}}])),
            "{broken}"
        );
    });
}
