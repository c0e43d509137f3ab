//! A pipeline of one's own, in a namespace of one's own: it runs, refuses bad settings without touching what runs, takes good
//! ones, sleeps and wakes, and takes away what it made.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::world::{
    LATER, SOON, World, ensure, eventually,
    requests::{answered, delete},
    story,
};

const NAME: &str = "own";
const PODS: &str = "tidegate.dev/pipeline=own";

async fn deployments(world: &World) -> BTreeMap<String, i32> {
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    let found = answered(async || api.list(&ListParams::default()).await).await.expect("Deployments can be listed");
    found
        .items
        .into_iter()
        .map(|found| {
            let replicas = found.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            (found.metadata.name.unwrap_or_default(), replicas)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_settings_change_is_refused_and_leaves_the_running_pods_alone() {
    story("settings", async |world| {
        let topic = world.furnish().await;
        let good = world.wallet_spec(&topic);
        world.apply_pipeline(NAME, good.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.open_ada().await;
        world.deposit().await;
        world.deposits_are_projected(1).await;
        let running = world.pods_of(&world.namespace, PODS).await;
        assert_eq!(running.len(), 3, "{running:?}");

        // Refused by the API server: the schema knows the roles.
        let mut bad = good.clone();
        bad["processors"][1]["run"]["wallet"]["role"] = json!("Ledger");
        let refusal = world.apply_pipeline(NAME, bad).await.unwrap_err().to_string();
        assert!(refusal.contains("LedgerProjector"), "the roles that there are are named: {refusal}");

        // Taken by the API server, refused by the operator: only it can look for the topic and the Secret.
        let mut bad = good.clone();
        bad["processors"][1]["consumes"]["topics"] = json!(["no-such-topic"]);
        world.apply_pipeline(NAME, bad).await.unwrap();
        let message = world.pipeline_stalls(NAME).await;
        assert!(message.contains("no-such-topic"), "{message}");
        assert_eq!(world.pods_of(&world.namespace, PODS).await, running, "the same pods run");

        let mut bad = good.clone();
        bad["database"]["secretRef"]["name"] = json!("no-such-secret");
        world.apply_pipeline(NAME, bad).await.unwrap();
        eventually("the status speaks of the Secret", SOON, async || {
            let message = world.pipeline_stalls(NAME).await;
            ensure(message.contains("no-such-secret"), || message)
        })
        .await;
        assert_eq!(world.pods_of(&world.namespace, PODS).await, running, "the same pods run");
        world.deposit().await;
        world.deposits_are_projected(2).await;

        // The good settings again: Ready, and still the same pods.
        world.apply_pipeline(NAME, good.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        assert_eq!(world.pods_of(&world.namespace, PODS).await, running, "the same pods run");

        // A good change rolls the processor that it is about, and no other.
        let mut changed = good;
        changed["processors"][0]["run"]["wallet"]["overdraft"] = json!("Allowed");
        world.apply_pipeline(NAME, changed).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let rolled = eventually("one pod is another", LATER, async || {
            let pods = world.pods_of(&world.namespace, PODS).await;
            let kept = pods.iter().filter(|(name, uid)| running.get(*name) == Some(uid)).count();
            ensure(pods.len() == 3 && kept == 2, || format!("{pods:?}")).map(|()| pods)
        })
        .await;
        let new: Vec<&String> = rolled.keys().filter(|name| !running.contains_key(*name)).collect();
        assert!(new[0].starts_with("own-commands-"), "{new:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_sleeps_wakes_and_takes_away_what_it_made() {
    story("pipeline", async |world| {
        let topic = world.furnish().await;
        let spec = world.wallet_spec(&topic);
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        let pipeline = world.pipeline_is_ready(NAME).await;
        assert_eq!(pipeline["status"]["summary"]["ready"], "3/3");

        // Growth would move keys under the projectors, who read them in order: refused, until somebody takes responsibility.
        let grown = |partitions: i32| {
            json!({"topicName": topic, "partitions": partitions, "replicas": 3, "deletionPolicy": "Delete"})
        };
        world.apply_topic("events", grown(6)).await.unwrap();
        let (reason, message) = world.topic_becomes("events", "Stalled").await;
        assert_eq!(reason, "OrderedConsumers", "{message}");
        assert!(message.contains("tidegate.dev/allow-reorder"), "it says how: {message}");
        assert_eq!(world.partitions_in_kafka(&topic), Some(vec![3; 3]));
        world.apply_topic("events", grown(3)).await.unwrap();
        world.topic_is_ready("events").await;

        // Suspended: no pods, all else stays. Resumed: as many as before.
        world.suspend(NAME, &spec, PODS).await;
        assert_eq!(deployments(world).await.len(), 3);
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.pods_are_ready(&world.namespace, PODS, 3, &[]).await;
        world.pipeline_is_ready(NAME).await;

        // A processor that is taken out of the spec takes what it owned with it.
        let mut smaller = spec;
        let taken_out = smaller["processors"].as_array_mut().and_then(Vec::pop).unwrap_or(Value::Null);
        assert_eq!(taken_out["name"], "read-model");
        world.apply_pipeline(NAME, smaller).await.unwrap();
        eventually("the read model's objects are gone", SOON, async || {
            let left = deployments(world).await;
            let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
            let map = maps.get_opt("own-read-model").await.map_err(|error| error.to_string())?;
            ensure(left.len() == 2 && map.is_none(), || format!("{left:?}"))
        })
        .await;

        // And so does the pipeline itself.
        let pipelines = world.event_pipelines(&world.namespace);
        delete(&pipelines, NAME, &DeleteParams::default()).await;
        eventually("nothing of it is left", LATER, async || {
            let left = deployments(world).await;
            ensure(left.is_empty(), || format!("{left:?}"))
        })
        .await;
        world.pods_are_gone(&world.namespace, PODS).await;
    })
    .await;
}
