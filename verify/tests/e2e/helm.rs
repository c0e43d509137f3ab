//! Helm: a release of pipelines is changed, taken back, refused and removed; the operator's own is taken away and put back. What runs
//! and what is in Kafka is none of Helm's business, and stays.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, resume_unwind},
    process::{Command, Output},
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, requests::answered, story};

const NAME: &str = "own";
const PODS: &str = "tidegate.dev/pipeline=own";
const OPERATORS: &str = "app.kubernetes.io/component=operator";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tidegate-pipelines");
const SYSTEM: &str = "tidegate-system";

/// What helm says, or why it does not.
async fn helm(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("helm");
    command.args(arguments);
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread can wait");
    let Output { status, stdout, stderr } = ran.expect("helm is on the PATH: eval \"$(hack/env)\"");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

/// `helm upgrade --install` of the story's release with these values.
async fn upgrade(world: &World, values: &Value) -> Result<String, String> {
    let file = std::env::temp_dir().join(format!("{}.json", world.namespace));
    std::fs::write(&file, values.to_string()).expect("values can be written");
    let path = file.to_string_lossy().into_owned();
    let said = helm(&["upgrade", "--install", "own", CHART, "-n", &world.namespace, "-f", &path]).await;
    let _ = std::fs::remove_file(file);
    said
}

/// Newest revision of a release.
async fn revision(namespace: &str, release: &str) -> u64 {
    let said = helm(&["history", release, "-n", namespace, "--max", "1", "-o", "json"])
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let history: Value = serde_json::from_str(&said).expect("helm writes JSON");
    history[0]["revision"].as_u64().expect("a revision is a number")
}

/// The wallet of [`World::wallet_spec`] and a topic beside it, as the chart's values.
fn values(world: &World, topic: &str) -> Value {
    let mut pipeline = world.wallet_spec(topic);
    let processors = pipeline["processors"].take();
    let named = processors.as_array().into_iter().flatten().map(|processor| {
        let mut spec = processor.clone();
        let name = spec.as_object_mut().and_then(|spec| spec.remove("name"));
        (name.as_ref().and_then(Value::as_str).expect("a processor has a name").to_owned(), spec)
    });
    pipeline["processors"] = Value::Object(named.collect());
    json!({
        "topics": {
            "wallet-events": null,
            "kept": {"topicName": world.name("kept"), "partitions": 2, "replicas": 3},
        },
        "pipelines": {"wallet": null, NAME: pipeline},
    })
}

async fn settings(world: &World, processor: &str) -> String {
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let name = format!("{NAME}-{processor}");
    let map = answered(async || maps.get(&name).await).await.expect("a processor has settings");
    map.data.unwrap_or_default().remove("settings.yaml").unwrap_or_default()
}

/// Pods of the processor commands, and those of all others.
async fn commands_and_others(world: &World) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    world.pods_of(&world.namespace, PODS).await.into_iter().partition(|(name, _)| name.starts_with("own-commands-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_pipelines_is_upgraded_rolled_back_refused_and_uninstalled() {
    story("helm", async |world| {
        let topic = world.furnish().await;
        let good = values(world, &topic);
        upgrade(world, &good).await.unwrap_or_else(|error| panic!("{error}"));
        world.pipeline_is_ready(NAME).await;
        world.topic_is_ready("kept").await;
        world.open_ada().await;
        world.deposit().await;
        world.deposits_are_projected(1).await;
        let (first, others) = commands_and_others(world).await;

        // Upgraded: what changed rolls, the others run on.
        let mut changed = good.clone();
        changed["pipelines"][NAME]["processors"]["commands"]["run"]["wallet"]["overdraft"] = json!("Allowed");
        upgrade(world, &changed).await.unwrap_or_else(|error| panic!("{error}"));
        eventually("commands run with the new settings", LATER, async || {
            let (pods, _) = commands_and_others(world).await;
            ensure(pods.len() == 1 && pods.keys().all(|pod| !first.contains_key(pod)), || format!("{pods:?}"))
        })
        .await;
        world.pipeline_is_ready(NAME).await;
        assert!(settings(world, "commands").await.contains("overdraft: Allowed"));
        assert_eq!(commands_and_others(world).await.1, others, "the same pods run");

        // Refused on the way: by the chart's schema, then by a rule of the API server. Neither touches what runs.
        let (second, _) = commands_and_others(world).await;
        let mut typo = good.clone();
        typo["pipelines"][NAME]["processors"]["ledger"]["replcas"] = json!(2);
        let refusal = upgrade(world, &typo).await.expect_err("a typo is refused");
        assert!(refusal.contains("replcas"), "{refusal}");
        let mut lost = good.clone();
        lost["pipelines"][NAME]["processors"]["ledger"]["retry"] = json!({"attempts": 3});
        let refusal = upgrade(world, &lost).await.expect_err("a retry without a dead letter is refused");
        assert!(refusal.contains("set deadLetter.topic"), "{refusal}");
        assert_eq!(commands_and_others(world).await, (second.clone(), others.clone()), "the same pods run");

        // Taken back.
        helm(&["rollback", "own", "1", "-n", &world.namespace]).await.unwrap_or_else(|error| panic!("{error}"));
        eventually("commands run with the old settings", LATER, async || {
            let (pods, _) = commands_and_others(world).await;
            ensure(pods.len() == 1 && pods.keys().all(|pod| !second.contains_key(pod)), || format!("{pods:?}"))
        })
        .await;
        world.pipeline_is_ready(NAME).await;
        assert!(!settings(world, "commands").await.contains("overdraft"));
        assert_eq!(commands_and_others(world).await.1, others, "the same pods run");
        world.deposit().await;
        world.deposits_are_projected(2).await;

        // Removed: no pods, and the topic that was to be retained is in Kafka still.
        helm(&["uninstall", "own", "-n", &world.namespace]).await.unwrap_or_else(|error| panic!("{error}"));
        world.pods_are_gone(&world.namespace, PODS).await;
        world.kafka_has_replicas(&world.name("kept"), &[3; 2]).await;
        assert!(!world.records_in_kafka(&topic).is_empty(), "events are there still");

        // And installed again it goes on where it was.
        upgrade(world, &good).await.unwrap_or_else(|error| panic!("{error}"));
        world.pipeline_is_ready(NAME).await;
        world.deposit().await;
        world.deposits_are_projected(3).await;
    })
    .await;
}

/// Puts the operator back as it was, from the release that Helm has kept; whatever the story found.
async fn restore_the_operator(revision: u64, pods: usize, world: &World) {
    let revision = revision.to_string();
    eventually("the operator's release is put back", LATER, async || {
        helm(&["rollback", "tidegate", &revision, "-n", SYSTEM]).await.map(drop)
    })
    .await;
    world.pods_are_ready(SYSTEM, OPERATORS, pods, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_operator_everything_runs_on_and_with_it_again_nothing_restarts() {
    story("helm-operator", async |world| {
        let topic = world.furnish().await;
        world.apply_pipeline(NAME, world.wallet_spec(&topic)).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.open_ada().await;
        world.deposit().await;
        world.deposits_are_projected(1).await;
        let running = world.pods_of(&world.namespace, PODS).await;
        let operators = world.pods_of(SYSTEM, OPERATORS).await.len();
        let installed = revision(SYSTEM, "tidegate").await;

        let told = AssertUnwindSafe(async {
            helm(&["uninstall", "tidegate", "-n", SYSTEM, "--keep-history"])
                .await
                .unwrap_or_else(|error| panic!("{error}"));
            world.pods_are_gone(SYSTEM, OPERATORS).await;

            let pipeline =
                eventually("the pipeline can be read", SOON, async || world.pipeline(&world.namespace, NAME).await)
                    .await;
            assert_eq!(pipeline["metadata"]["deletionTimestamp"], Value::Null);
            assert_eq!(world.topic("events").await["metadata"]["deletionTimestamp"], Value::Null);
            assert_eq!(world.partitions_in_kafka(&topic), Some(vec![3; 3]));
            assert_eq!(world.pods_of(&world.namespace, PODS).await, running, "the same pods run");
            world.deposit().await;
            world.deposits_are_projected(2).await;

            // A pod that dies meanwhile is Kubernetes' own affair; a pipeline that is deleted takes its pods by ownership.
            let ledger = running.keys().find(|pod| pod.starts_with("own-ledger-")).expect("a ledger runs");
            world.kill_pod(&world.namespace, ledger).await;
            world.deposit().await;
            world.deposits_are_projected(3).await;
        })
        .catch_unwind()
        .await;
        restore_the_operator(installed, operators, world).await;
        if let Err(panic) = told {
            resume_unwind(panic);
        }

        world.pods_are_ready(&world.namespace, PODS, 3, &[]).await;
        let before = world.pods_of(&world.namespace, PODS).await;
        eventually("an operator leads", SOON, async || world.leader().await.ok_or("nobody".to_owned())).await;

        // It works again, and what it found as it should be it left alone.
        let mut changed = world.wallet_spec(&topic);
        changed["processors"][0]["run"]["wallet"]["overdraft"] = json!("Allowed");
        world.apply_pipeline(NAME, changed).await.unwrap();
        eventually("the change is made", LATER, async || {
            let settings = settings(world, "commands").await;
            ensure(settings.contains("overdraft: Allowed"), || settings)
        })
        .await;
        world.pipeline_is_ready(NAME).await;
        let after = world.pods_of(&world.namespace, PODS).await;
        let left_alone = |pods: &BTreeMap<String, String>| -> Vec<String> {
            pods.keys().filter(|pod| !pod.starts_with("own-commands-")).cloned().collect()
        };
        assert_eq!(left_alone(&after), left_alone(&before), "the same pods run");
    })
    .await;
}
