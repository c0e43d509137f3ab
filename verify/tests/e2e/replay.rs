//! A projection is made anew, on the day that it turns out to be wrong: by a word in the spec, with the operator killed in the middle.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, requests::apply, story};

pub const NAME: &str = "own";
pub const LEDGER: usize = 1;
const READ_MODEL: usize = 2;

/// Wallets with money that has moved between them; how many events that makes.
pub async fn business(world: &World) -> i64 {
    for wallet in ["ada", "bob", "cyd"] {
        let opened = json!({"walletId": wallet, "ownerId": wallet, "currency": "EUR"});
        world.call("own-commands", "wallets", Some(opened)).await.unwrap();
        let deposit = json!({"amount": "100.00", "reference": "seed"});
        world.call("own-commands", &format!("wallets/{wallet}/deposits"), Some(deposit)).await.unwrap();
    }
    for (from, to) in [("ada", "bob"), ("bob", "cyd"), ("cyd", "ada"), ("ada", "cyd")].repeat(5) {
        let transfer = json!({"from": from, "to": to, "amount": "1.25"});
        world.call("own-commands", "transfers", Some(transfer)).await.unwrap();
    }
    3 * 2 + 20 * 2
}

/// Everything that the projections hold, but for the numbers that entries were given.
async fn projections(world: &World) -> Vec<Value> {
    let query = "SELECT jsonb_build_array('ledger', to_jsonb(l) - 'entry') FROM ledger_entries AS l
         UNION ALL SELECT jsonb_build_array('watermark', to_jsonb(w)) FROM ledger_watermarks AS w
         UNION ALL SELECT jsonb_build_array('read model', to_jsonb(r)) FROM wallet_read_model AS r ORDER BY 1";
    sqlx::query_scalar(query).fetch_all(&mut world.tenant_database().await).await.unwrap()
}

pub async fn until_projected(world: &World, events: i64) {
    eventually("everything is projected", LATER, async || {
        let query = "SELECT (SELECT coalesce(sum(version), 0)::bigint FROM ledger_watermarks),
                            (SELECT coalesce(sum(version), 0)::bigint FROM wallet_read_model)";
        let seen: (i64, i64) = sqlx::query_as(query)
            .fetch_one(&mut world.tenant_database().await)
            .await
            .map_err(|error| error.to_string())?;
        ensure(seen == (events, events), || format!("{seen:?} of {events}"))
    })
    .await;
}

/// The replay of a processor in the status, once it is in one of the phases.
async fn replay(world: &World, processor: &str, id: &str, phases: &[&str]) -> Value {
    eventually(&format!("replay {id} of {processor} is {phases:?}"), LATER, async || {
        let status = world.pipeline(&world.namespace, NAME).await?["status"].clone();
        let replays = status["replays"].as_array().cloned().unwrap_or_default();
        let found = replays.iter().find(|replay| replay["id"] == id && replay["processor"] == processor);
        match found {
            Some(found) if phases.iter().any(|phase| found["phase"] == *phase) => Ok(found.clone()),
            _ => Err(status.to_string()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_is_replayed_equals_the_live_one_though_the_operator_is_killed_in_the_middle() {
    story("replay", async |world| {
        let topic = world.furnish().await;
        let mut spec = world.wallet_spec(&topic);
        for at in [LEDGER, READ_MODEL] {
            spec["processors"][at]["retry"] = json!({});
            spec["processors"][at]["deadLetter"] = json!({"topic": world.name("dlq")});
        }
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let events = business(world).await;
        until_projected(world, events).await;
        let live = projections(world).await;

        // What a bug makes of it.
        let mut database = world.tenant_database().await;
        for bug in ["UPDATE wallet_read_model SET balance = balance + 7", "DELETE FROM ledger_entries WHERE line = 2"] {
            sqlx::query(bug).execute(&mut database).await.unwrap();
        }
        let mut again = spec.clone();
        for at in [LEDGER, READ_MODEL] {
            again["processors"][at]["replay"] = json!({"id": "after-fix", "from": {"position": "Earliest"}});
        }
        world.apply_pipeline(NAME, again).await.unwrap();
        replay(world, "ledger", "after-fix", &["Stopping", "Moving", "Starting"]).await;
        let leader = eventually("an operator leads", SOON, async || world.leader().await.ok_or("nobody".into())).await;
        world.kill_pod("tidegate-system", &leader).await;

        for processor in ["ledger", "read-model"] {
            let done = replay(world, processor, "after-fix", &["Done"]).await;
            let sum = |key: &str| -> i64 {
                let partitions = done[key][&topic].as_object().cloned().unwrap_or_default();
                partitions.values().filter_map(Value::as_i64).sum()
            };
            assert!(sum("before") >= events && sum("after") == 0, "{done}");
            assert_eq!(done["after"][&topic].as_object().map(|partitions| partitions.len()), Some(3), "{done}");
        }
        world.pipeline_is_ready(NAME).await;
        until_projected(world, events).await;
        assert_eq!(projections(world).await, live, "the rebuilt projections equal the live ones");
        eventually("command side and projections agree", SOON, async || {
            let report = world.call("own-commands", "reconciliation?maxAge=0", None).await?;
            ensure(report["status"] == "Agrees", || report.to_string())
        })
        .await;
        world.event_says(NAME, &["ReplayDone", "after-fix", "ledger"]).await;

        // What comes later is projected, and the way back is another replay.
        let deposit = json!({"amount": "5.00", "reference": "later"});
        world.call("own-commands", "wallets/ada/deposits", Some(deposit)).await.unwrap();
        until_projected(world, events + 1).await;
        let live = projections(world).await;
        let mut undo = spec.clone();
        undo["processors"][LEDGER]["replay"] = json!({"id": "undo", "from": {"replay": "after-fix"}});
        world.apply_pipeline(NAME, undo).await.unwrap();
        let undone = replay(world, "ledger", "undo", &["Done"]).await;
        let first = replay(world, "ledger", "after-fix", &["Done"]).await;
        assert_eq!(undone["after"], first["before"], "{undone}");
        until_projected(world, events + 1).await;
        assert_eq!(projections(world).await, live);
        world.pipeline_is_ready(NAME).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_is_refused_with_a_sentence_and_one_that_came_with_the_pipeline_is_not_run() {
    story("unreplayed", async |world| {
        let topic = world.furnish().await;
        let mut spec = world.wallet_spec(&topic);

        let earliest = json!({"position": "Earliest"});

        // Out of a backup.
        spec["processors"][LEDGER]["replay"] = json!({"id": "long-ago", "from": earliest});
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        let recorded = replay(world, "ledger", "long-ago", &["Recorded"]).await;
        assert!(recorded["message"].as_str().unwrap_or_default().contains("another id"), "{recorded}");
        world.pipeline_is_ready(NAME).await;

        // By the operator.
        let ask = async |id: &str, from: Value, said: &str| {
            let mut bad = spec.clone();
            bad["processors"][LEDGER]["replay"] = json!({"id": id, "from": from});
            world.apply_pipeline(NAME, bad).await.unwrap();
            let refused = replay(world, "ledger", id, &["Refused"]).await;
            assert!(refused["message"].as_str().unwrap_or_default().contains(said), "{refused}");
        };
        ask("beyond", json!({"offsets": {&topic: {"0": 1000}}}), "ends at offset 0").await;
        ask("nowhere", json!({"offsets": {&topic: {"9": 0}}}), "has no partition 9").await;
        ask("undo", json!({"replay": "never"}), "there is no replay never").await;
        ask("undo-nothing", json!({"replay": "long-ago"}), "nothing to undo").await;
        let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(world.client.clone(), &world.namespace);
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "mine"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "own-ledger"}, "maxReplicas": 2,
            },
        });
        apply(&scalers, "mine", &scaler).await.unwrap();
        ask("scaled", earliest.clone(), "HorizontalPodAutoscaler").await;
        world.event_says(NAME, &["ReplayRefused", "scaled"]).await;
        world.pipeline_is_ready(NAME).await;
    })
    .await;
}
