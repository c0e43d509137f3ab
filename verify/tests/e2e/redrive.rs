//! A projector with a bug gives records up; it is mended, and what it gave up is tried again, in order and once, though the operator is killed
//! in the middle.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_contracts::headers;

use crate::{
    replay::{LEDGER, NAME, business, until_projected},
    world::{LATER, SOON, World, ensure, eventually, story},
};

/// Has the ledger refuse what it should book for a wallet, as a projector with a bug does.
const BUG: &str = "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.wallet_id = 'bob' THEN RAISE EXCEPTION 'a bug' USING ERRCODE = 'check_violation'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER bug BEFORE INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION bug()";

/// The redrive in the status, once it is in one of the phases; whoever listens does so after every look.
async fn redrive(world: &World, id: &str, phases: &[&str], mut listen: impl FnMut()) -> Value {
    eventually(&format!("redrive {id} is {phases:?}"), LATER, async || {
        let status = world.pipeline(&world.namespace, NAME).await?["status"].clone();
        listen();
        let redrives = status["redrives"].as_array().cloned().unwrap_or_default();
        match redrives.into_iter().find(|redrive| redrive["id"] == id) {
            Some(found) if phases.iter().any(|phase| found["phase"] == *phase) => Ok(found),
            _ => Err(status.to_string()),
        }
    })
    .await
}

/// Places of the words in a retry topic that say what is tried again. They go when what they say has been done for a minute.
fn words(world: &World, retry: &str) -> BTreeSet<(i32, i64)> {
    let records = world.records_in_kafka(retry).into_iter();
    let words = records.filter(|record| record.headers.get(headers::CONTROL).is_some_and(|word| word == "redrive"));
    words.map(|word| word.place).collect()
}

/// Error classes of the ledger's dead letters, in no order.
fn dead_letters(world: &World, topic: &str) -> Vec<String> {
    let header = |record: &crate::world::Found, name: &str| record.headers.get(name).cloned().unwrap_or_default();
    let group = world.name("ledger");
    let mut classes: Vec<_> = world
        .records_in_kafka(topic)
        .iter()
        .filter(|record| header(record, headers::GROUP) == group)
        .map(|record| header(record, headers::ERROR_CLASS))
        .collect();
    classes.sort();
    classes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_projector_with_a_bug_gave_up_is_redriven_once_it_is_mended() {
    story("redrive", async |world| {
        let topic = world.furnish().await;
        let (group, dlq) = (world.name("ledger"), world.name("dlq"));
        let mut spec = world.wallet_spec(&topic);
        for processor in [1, 2] {
            spec["processors"][processor]["retry"] =
                json!({"attempts": 3, "backoff": {"initial": "100ms", "max": "500ms"}});
            spec["processors"][processor]["deadLetter"] = json!({"topic": dlq, "partitions": 2});
        }
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let mut database = world.tenant_database().await;
        sqlx::raw_sql(BUG).execute(&mut database).await.unwrap();
        let events = business(world).await;
        world.produce(&topic, "stranger", b"no event of ours").await;
        eventually("the ledger has given up a record of bob, and the stranger", LATER, async || {
            let found = dead_letters(world, &dlq);
            ensure(found == ["Exhausted", "Poison"], || format!("{found:?}"))
        })
        .await;

        // Mended.
        sqlx::raw_sql("DROP FUNCTION bug() CASCADE").execute(&mut database).await.unwrap();
        spec["processors"][LEDGER]["redrive"] = json!({"id": "after-fix", "match": {"errorClass": "Exhausted"}});
        let leader = eventually("an operator leads", SOON, async || world.leader().await.ok_or("nobody".into())).await;
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        let (retry, mut said) = (format!("{group}.{topic}.retry"), BTreeSet::new());
        let mut listen = || said.extend(words(world, &retry));
        redrive(world, "after-fix", &["Running", "Done"], &mut listen).await;
        world.kill_pod("tidegate-system", &leader).await;
        let done = redrive(world, "after-fix", &["Done"], &mut listen).await;
        assert_eq!((&done["moved"], &done["skipped"]), (&json!(1), &json!(1)), "{done}");
        until_projected(world, events).await;
        eventually("command side and projections agree", SOON, async || {
            listen();
            let report = world.call("own-commands", "reconciliation?maxAge=0", None).await?;
            ensure(report["status"] == "Agrees", || report.to_string())
        })
        .await;
        assert_eq!(said.len(), 1, "it was said once: {said:?}");
        assert_eq!(dead_letters(world, &dlq), ["Exhausted", "Poison"], "dead letters stay where they are");

        // The next leaves out what was redriven; what nobody can read dies again.
        spec["processors"][LEDGER]["redrive"] = json!({"id": "the-rest"});
        world.apply_pipeline(NAME, spec).await.unwrap();
        let done = redrive(world, "the-rest", &["Done"], || {}).await;
        assert_eq!((&done["moved"], &done["skipped"]), (&json!(1), &json!(1)), "{done}");
        eventually("the stranger has died again", SOON, async || {
            let found = dead_letters(world, &dlq);
            ensure(found == ["Exhausted", "Poison", "Poison"], || format!("{found:?}"))
        })
        .await;
        world.event_says(NAME, &["RedriveDone", "the-rest"]).await;
    })
    .await;
}
