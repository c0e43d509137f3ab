//! A processor that gets pods when it is behind and gives them back; and what scaling may not be together with.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{Api, api::DeleteParams};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tidegate_contracts::{
    Currency, Envelope,
    wallet::{WalletEvent, WalletOpened},
};
use uuid::Uuid;

use crate::world::{
    LATER, SOON, World, condition, ensure, eventually,
    requests::{apply, delete},
    story,
};

const NAME: &str = "own";
const PODS: &str = "tidegate.dev/pipeline=own,tidegate.dev/processor=read-model";
/// Records that are written at once.
const CHUNK: usize = 20_000;
/// How much always waits, in seconds of work at the pace of the story so far: enough to be behind, and gone soon when no more comes.
const WORK: f64 = 60.0;

/// A wallet of one's own of which only the read model runs, on so little of a processor that a burst is one.
fn scaled_spec(world: &World, topic: &str) -> Value {
    let mut spec = world.wallet_spec(topic);
    let mut processor = spec["processors"][2].take();
    if let Some(fields) = processor.as_object_mut() {
        fields.remove("replicas");
    }
    processor["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "40m", "memory": "256Mi"}});
    processor["scaling"] =
        json!({"min": 1, "max": 5, "targetLag": "10s", "scaleOutWindow": "30s", "scaleInWindow": "30s"});
    spec["processors"] = json!([processor]);
    spec
}

/// Wallets that open, each with a key of its own.
async fn burst(world: &World, topic: &str, count: usize) {
    let mut config = world.environment.kafka.client_config();
    config.set("acks", "all").set("partitioner", "murmur2_random").set("linger.ms", "20");
    let producer: FutureProducer = config.create().expect("a Kafka producer can be built");
    let records = (0..count).map(|_| {
        let wallet = format!("burst-{}", Uuid::new_v4().simple());
        let currency = "EUR".parse::<Currency>().expect("EUR is a currency");
        let event = Envelope {
            event_id: Uuid::now_v7(),
            aggregate_id: wallet.clone(),
            aggregate_version: 1,
            timestamp: Timestamp::now(),
            correlation_id: Uuid::now_v7(),
            causation_id: None,
            event: WalletEvent::WalletOpened(WalletOpened { owner_id: wallet.clone(), currency }),
        };
        let (producer, value) = (producer.clone(), event.to_bytes());
        async move {
            let sent =
                producer.send(FutureRecord::to(topic).key(&wallet).payload(&value), Duration::from_secs(30)).await;
            sent.map(drop).unwrap_or_else(|(error, _)| panic!("producing to {topic}: {error}"));
        }
    });
    futures::future::join_all(records).await;
}

/// Keeps those busy who read a topic, however fast they are.
struct Feeder<'a> {
    world: &'a World,
    topic: &'a str,
    database: PgConnection,
    since: Instant,
    written: usize,
}

impl<'a> Feeder<'a> {
    async fn new(world: &'a World, topic: &'a str) -> Self {
        Self { world, topic, database: world.tenant_database().await, since: Instant::now(), written: 0 }
    }

    /// Writes some more, unless enough waits.
    async fn feed(&mut self) -> Result<(), String> {
        let query = sqlx::query_scalar("SELECT count(*) FROM wallet_read_model");
        let read: i64 = query.fetch_one(&mut self.database).await.map_err(|error| error.to_string())?;
        let (read, pace) = (read as f64, read as f64 / self.since.elapsed().as_secs_f64());
        if (self.written as f64) - read < (pace * WORK).max(CHUNK as f64) {
            burst(self.world, self.topic, CHUNK).await;
            self.written += CHUNK;
        }
        Ok(())
    }
}

async fn scaling(world: &World) -> Result<Value, String> {
    let pipeline = world.pipeline(&world.namespace, NAME).await?;
    let found = pipeline["status"]["processors"][0].clone();
    ensure(found["scaling"].is_object(), || found.to_string()).map(|()| found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_gets_pods_when_it_is_behind_and_gives_them_back() {
    story("scaling", async |world| {
        let topic = world.furnish().await;
        world.apply_pipeline(NAME, scaled_spec(world, &topic)).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.pods_are_ready(&world.namespace, PODS, 1, &[]).await;

        // One pod falls behind until what it can do is known; then there are as many as help, which is one for each partition at most.
        let mut feeder = Feeder::new(world, &topic).await;
        let scaled = eventually("there is to be more than one pod", LATER, async || {
            feeder.feed().await?;
            let found = scaling(world).await?;
            ensure(found["scaling"]["desired"].as_i64() > Some(1), || found.to_string()).map(|()| found)
        })
        .await;
        let desired = scaled["scaling"]["desired"].as_i64().unwrap_or_default();
        assert!((2..=3).contains(&desired), "never more than the three partitions: {scaled}");
        assert!(scaled["scaling"]["recordsPerSecond"].as_i64() > Some(0), "{scaled}");
        let wanted = usize::try_from(desired).unwrap();
        eventually(&format!("{wanted} pods are ready while they are needed"), LATER, async || {
            feeder.feed().await?;
            let ready = world.ready_pods(&world.namespace, PODS).await;
            ensure(ready >= wanted, || format!("{ready} are"))
        })
        .await;
        println!("{} records were written", feeder.written);
        world.event_says(NAME, &["ScaledOut", "records behind"]).await;

        // They get through, and go when one was enough for the window.
        eventually("there is one pod again", LATER, async || {
            let found = scaling(world).await?;
            ensure(found["scaling"]["desired"] == 1 && found["replicas"] == 1, || found.to_string())
        })
        .await;
        world.event_says(NAME, &["ScaledIn"]).await;
        world.pods_are_ready(&world.namespace, PODS, 1, &[]).await;
        eventually("nothing waits", SOON, async || {
            let found = scaling(world).await?;
            ensure(found["lagRecords"] == 0, || found.to_string())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_that_decides_the_number_is_refused_and_a_suspended_processor_comes_back_as_it_was() {
    story("scalers", async |world| {
        let topic = world.furnish().await;
        let mut two = scaled_spec(world, &topic);
        two["processors"][0]["scaling"]["min"] = json!(2);
        world.apply_pipeline(NAME, two.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.pods_are_ready(&world.namespace, PODS, 2, &[]).await;

        // Suspended and back: the number that was decided on.
        world.suspend(NAME, &two, PODS).await;
        world.apply_pipeline(NAME, two.clone()).await.unwrap();
        world.pods_are_ready(&world.namespace, PODS, 2, &[]).await;

        // Somebody else who would set the number.
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(world.client.clone(), &world.namespace);
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "by-cpu"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "own-read-model"},
                "minReplicas": 2, "maxReplicas": 2,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}}}],
            },
        });
        apply(&api, "by-cpu", &autoscaler).await.unwrap();
        // A change asks for a look; without one there is a look a minute.
        let mut three = two.clone();
        three["processors"][0]["scaling"]["max"] = json!(4);
        world.apply_pipeline(NAME, three).await.unwrap();
        let message = world.pipeline_stalls(NAME).await;
        assert!(message.contains("HorizontalPodAutoscaler by-cpu"), "{message}");
        delete(&api, "by-cpu", &DeleteParams::default()).await;
        eventually("the pipeline goes on by itself", LATER, async || {
            let pipeline = world.pipeline(&world.namespace, NAME).await?;
            let ready = condition(&pipeline, "Ready");
            ensure(ready.as_ref().is_some_and(|(status, ..)| status == "True"), || format!("{ready:?}"))
        })
        .await;
    })
    .await;
}
