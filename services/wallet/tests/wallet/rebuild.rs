//! A projection that is replayed is what it was, row by row; one that is rebuilt is what it was too, even when the topic has lost its
//! beginning.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::world::{Process, Role, World, eventually, story};

async fn business(api: &Process, round: usize) {
    let wallets = ["a", "b", "c", "d"].map(|name| format!("{name}-{round}"));
    for wallet in &wallets {
        api.done("/wallets", json!({"walletId": wallet, "ownerId": "o", "currency": "EUR"})).await;
        api.done(&format!("/wallets/{wallet}/deposits"), json!({"amount": "100.00", "reference": "seed"})).await;
    }
    let transfer = |n: usize| json!({"from": wallets[n % 4], "to": wallets[(n + 1 + n / 4 % 3) % 4], "amount": "0.10"});
    join_all((0..60).map(|n| api.done("/transfers", transfer(n)))).await;
    for wallet in &wallets {
        let hold = api.done("/holds", json!({"walletId": wallet, "amount": "3.00"})).await;
        let hold = hold["holdId"].as_str().unwrap();
        api.done(&format!("/holds/{hold}/capture"), json!({"amount": "1.00"})).await;
        api.done("/holds", json!({"walletId": wallet, "amount": "0.50"})).await;
    }
}

/// Everything that the projections wrote, but for the numbers that entries of the ledger were given.
async fn projections(world: &World) -> Vec<Value> {
    let query = "SELECT jsonb_build_array('ledger', to_jsonb(l) - 'entry') FROM ledger_entries AS l
         UNION ALL SELECT jsonb_build_array('watermark', to_jsonb(w)) FROM ledger_watermarks AS w
         UNION ALL SELECT jsonb_build_array('read model', to_jsonb(r)) FROM wallet_read_model AS r ORDER BY 1";
    sqlx::query_scalar(query).fetch_all(&world.pool).await.unwrap()
}

/// The greatest number of an entry, and how far the groups are.
async fn booked_and_read(world: &World) -> (Option<i64>, i64) {
    sqlx::query_as(
        "SELECT (SELECT max(entry) FROM ledger_entries),
                (SELECT coalesce(sum(next_offset), 0)::bigint FROM tidegate.projection_offsets)",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn sql(world: &World, statement: &'static str) {
    sqlx::query(statement).execute(&world.pool).await.unwrap();
}

async fn stop(processes: [Process; 2]) {
    for process in processes {
        assert!(process.stop().await.success());
    }
}

async fn start(world: &World) -> [Process; 2] {
    [world.start(Role::Ledger).await, world.start(Role::ReadModel).await]
}

#[test]
fn a_projection_that_is_replayed_or_rebuilt_is_what_it_was() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let live = start(world).await;
        business(&api, 1).await;
        world.until_caught_up().await;
        let (before, end) = (projections(world).await, booked_and_read(world).await);
        stop(live).await;

        // Replay: the topic again from its beginning.
        sql(world, "UPDATE tidegate.projection_offsets SET next_offset = 0").await;
        let live = start(world).await;
        eventually("the topic has been read again, and nothing was booked", async || {
            let now = booked_and_read(world).await;
            if now == end { Ok(()) } else { Err(format!("{now:?} of {end:?}")) }
        })
        .await;
        assert_eq!(projections(world).await, before, "a replay changes nothing");
        stop(live).await;

        // Rebuild: nothing is left of the projections, nor of the topic.
        let forget = "TRUNCATE ledger_entries, ledger_watermarks, wallet_read_model, tidegate.projection_offsets";
        sql(world, forget).await;
        world.empty_topic().await;
        let live = start(world).await;
        world.until_caught_up().await;
        assert_eq!(projections(world).await, before, "a rebuilt projection equals the live one");

        // It lives on, and is rebuilt once more from both, by two replicas at once.
        business(&api, 2).await;
        world.until_caught_up().await;
        let before = projections(world).await;
        stop(live).await;
        sql(world, forget).await;
        let (_one, _other) = tokio::join!(start(world), start(world));
        business(&api, 3).await;
        world.until_caught_up().await;
        let (_, report) = api.get("/reconciliation?maxAge=0").await;
        assert_eq!(report["status"], "Agrees", "{report}");
        let rebuilt = projections(world).await;
        let lost = before.iter().filter(|row| !rebuilt.contains(row)).count();
        assert_eq!(lost, 0, "every row is there again");
    });
}

async fn start_again(world: &World) -> [Process; 2] {
    [world.start_in_generation(Role::Ledger, "again").await, world.start_in_generation(Role::ReadModel, "again").await]
}

#[test]
fn a_replay_makes_the_projections_anew_and_what_was_wrong_with_them_is_gone() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        let live = start(world).await;
        business(&api, 1).await;
        world.until_caught_up().await;
        let before = projections(world).await;

        // As a projector with a bug leaves them. It still runs when the others begin.
        sql(world, "UPDATE wallet_read_model SET balance = balance + 1").await;
        sql(world, "UPDATE ledger_entries SET amount = amount * 2 WHERE line = 1").await;
        let again = start_again(world).await;
        world.until_caught_up().await;
        assert_eq!(projections(world).await, before, "a replayed projection equals what it was before the bug");

        // The old ones write nothing more, and end; those who start again go on.
        stop(again).await;
        business(&api, 2).await;
        for mut old in live {
            old.until_dead().await;
        }
        let again = start_again(world).await;
        world.until_caught_up().await;
        let now = projections(world).await;
        assert!(before.iter().filter(|row| row[0] == "ledger").all(|row| now.contains(row)), "every entry is there");
        let (_, report) = api.get("/reconciliation?maxAge=0").await;
        assert_eq!(report["status"], "Agrees", "{report}");
        stop(again).await;
    });
}
