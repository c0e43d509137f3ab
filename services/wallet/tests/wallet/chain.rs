//! What is done to the event store behind the service's back is noticed.

use serde_json::{Value, json};

use crate::world::{Process, Role, World, eventually, story};

async fn wallet(api: &Process, name: &str) {
    api.done("/wallets", json!({"walletId": name, "ownerId": "o", "currency": "EUR"})).await;
    for n in 1..=4 {
        api.done(&format!("/wallets/{name}/deposits"), json!({"amount": format!("{n}.00"), "reference": "é \"x\""}))
            .await;
    }
}

async fn sql(world: &World, statement: &'static str) {
    let done = sqlx::query(statement).execute(&world.pool).await.unwrap();
    assert_ne!(done.rows_affected(), 0, "{statement}");
}

async fn chain(api: &Process, wallet: &str) -> Value {
    api.get(&format!("/wallets/{wallet}/chain")).await.1
}

#[test]
fn a_row_that_is_changed_or_removed_is_named() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let tampering = [
            (
                "amount",
                "UPDATE wallet_events SET data = data || '{\"amount\": \"900.00\"}' WHERE (wallet_id, version) = ('amount', 3)",
                3,
                "Altered",
            ),
            (
                "time",
                "UPDATE wallet_events SET occurred_at = occurred_at - interval '1 ms' WHERE (wallet_id, version) = ('time', 2)",
                2,
                "Altered",
            ),
            (
                "type",
                "UPDATE wallet_events SET event_type = 'MoneyWithdrawn' WHERE (wallet_id, version) = ('type', 5)",
                5,
                "Altered",
            ),
            ("middle", "DELETE FROM wallet_events WHERE (wallet_id, version) = ('middle', 3)", 3, "Missing"),
            ("last", "DELETE FROM wallet_events WHERE (wallet_id, version) = ('last', 5)", 5, "Missing"),
            ("all", "DELETE FROM wallet_events WHERE wallet_id = 'all'", 1, "Missing"),
            ("state", "UPDATE wallet_state SET version = 4, chained = 4 WHERE wallet_id = 'state'", 4, "HeadDiffers"),
        ];
        for (name, statement, version, reason) in tampering {
            wallet(&api, name).await;
            let intact = chain(&api, name).await;
            assert_eq!(
                (&intact["intact"], &intact["length"], &intact["unchained"]),
                (&json!(true), &json!(5), &json!(0)),
                "{intact}"
            );
            sql(world, statement).await;
            let broken = chain(&api, name).await;
            assert_eq!(broken["intact"], json!(false), "{name}: {broken}");
            assert_eq!(broken["firstBroken"], json!({"version": version, "reason": reason}), "{name}");
        }
        assert_eq!(api.get("/wallets/nobody/chain").await.0.as_u16(), 404);
    });
}

#[test]
fn events_from_before_the_chain_get_their_hashes() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        for name in ["idle", "busy", "half"] {
            wallet(&api, name).await;
        }
        let heads = [chain(&api, "idle").await, chain(&api, "half").await];
        // As a build from before the chain would have left them, all of it or from version 3 on.
        sql(world, "UPDATE wallet_events SET hash = NULL WHERE wallet_id <> 'half' OR version > 2").await;
        sql(world, "UPDATE wallet_state SET chained = 0, head = NULL WHERE wallet_id <> 'half'").await;
        sql(
            world,
            "UPDATE wallet_state SET chained = 2, head = (SELECT hash FROM wallet_events WHERE (wallet_id, version) = ('half', 2))
             WHERE wallet_id = 'half'",
        )
        .await;
        let before = chain(&api, "half").await;
        assert_eq!((&before["intact"], &before["unchained"]), (&json!(true), &json!(3)), "{before}");

        api.done("/wallets/busy/deposits", json!({"amount": "1.00"})).await;
        let busy = chain(&api, "busy").await;
        assert_eq!(
            (&busy["intact"], &busy["length"], &busy["unchained"]),
            (&json!(true), &json!(6), &json!(0)),
            "{busy}"
        );
        assert_eq!(api.stop().await.code(), Some(0));

        let api = world.start(Role::Commands).await;
        for (name, before) in ["idle", "half"].into_iter().zip(heads) {
            eventually("the start has completed the chain", async || {
                let now = chain(&api, name).await;
                if now == before { Ok(()) } else { Err(now.to_string()) }
            })
            .await;
        }
    });
}
