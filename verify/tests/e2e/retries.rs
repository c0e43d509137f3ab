//! Records that fail: the topics that a pipeline brings along for them, who may have which, and what becomes of a record that nobody can
//! read.

use serde_json::{Value, json};
use tidegate_contracts::headers;

use crate::world::{
    LATER, SOON, World, as_json, condition, ensure, eventually, read_model::row_is, requests::edit, story,
};

const NAME: &str = "own";

/// A wallet of one's own whose projectors try again and give up; the spec, and Kafka's names of the ledger's retry topic and of the
/// dead-letter topic.
fn failing_spec(world: &World, topic: &str) -> (Value, String, String) {
    let mut spec = world.wallet_spec(topic);
    let dead_letters = world.name("dlq");
    for at in [1, 2] {
        spec["processors"][at]["retry"] = json!({"attempts": 3, "backoff": {"initial": "100ms", "max": "1s"}});
        spec["processors"][at]["deadLetter"] = json!({"topic": dead_letters, "partitions": 2, "retention": "7d"});
    }
    (spec, format!("{}.{topic}.retry", world.name("ledger")), dead_letters)
}

async fn resource_is_gone(world: &World, name: &str) {
    eventually(&format!("KafkaTopic {name} is gone"), SOON, async || {
        let left = world.kafka_topics(&world.namespace).get_opt(name).await.map_err(|error| error.to_string())?;
        ensure(left.is_none(), || "it is there".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_brings_along_the_topics_for_records_that_fail() {
    story("retries", async |world| {
        let topic = world.furnish().await;
        let (spec, retry, dead_letters) = failing_spec(world, &topic);
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        let pipeline = world.pipeline_is_ready(NAME).await;

        // As many partitions as the source, and room for what is in it and a few headers; nothing is ever lost by age.
        world.kafka_has_replicas(&retry, &[3; 3]).await;
        world.kafka_has_replicas(&dead_letters, &[3; 2]).await;
        for (topic, key, value) in [
            (&retry, "retention.ms", "-1"),
            (&retry, "cleanup.policy", "delete"),
            (&retry, "max.message.bytes", "1114124"),
            (&retry, "min.insync.replicas", "2"),
            (&dead_letters, "retention.ms", "604800000"),
            (&dead_letters, "max.message.bytes", "1114124"),
        ] {
            world.kafka_has_config(topic, key, value).await;
        }
        let owned = world.topic_is_ready(&retry).await;
        assert_eq!(owned["metadata"]["ownerReferences"][0]["uid"], pipeline["metadata"]["uid"]);
        assert_eq!(owned["spec"]["deletionPolicy"], "Retain");

        // What nobody is to change is put back.
        let forgetful = json!({"spec": {"config": {"retention.ms": 1000}}});
        let topics = world.kafka_topics(&world.namespace);
        edit(&topics, &retry, &forgetful).await;
        eventually("the retry topic keeps everything again", SOON, async || {
            let found = as_json(&topics.get(&retry).await.map_err(|error| error.to_string())?);
            ensure(found["spec"]["config"]["retention.ms"] == -1, || found["spec"].to_string())
        })
        .await;
        world.topic_is_ready(&retry).await;
        world.kafka_has_config(&retry, "retention.ms", "-1").await;

        // The source grows, with consent; the retry topic grows before it.
        let consent = json!({
            "metadata": {"annotations": {"tidegate.dev/allow-reorder": "5"}}, "spec": {"partitions": 5},
        });
        edit(&topics, "events", &consent).await;
        eventually("the topic has grown", LATER, async || {
            let [events, retries] = world.partition_counts([&topic, &retry]);
            assert!(events <= retries, "it grew to {events} before its retry topic, which has {retries}");
            ensure(events == 5, || format!("{events} partitions"))
        })
        .await;
        world.pipeline_is_ready(NAME).await;

        // Taken out of the spec, the resources go and the topics stay; put back, they are taken over again.
        let mut without = spec.clone();
        for at in [1, 2] {
            let processor = without["processors"][at].as_object_mut().unwrap();
            processor.remove("retry");
            processor.remove("deadLetter");
        }
        world.apply_pipeline(NAME, without).await.unwrap();
        resource_is_gone(world, &retry).await;
        resource_is_gone(world, &dead_letters).await;
        world.event_says(NAME, &["TopicReleased", &retry]).await;
        assert_eq!(world.partitions_in_kafka(&retry).map(|found| found.len()), Some(5));
        assert_eq!(world.partitions_in_kafka(&dead_letters).map(|found| found.len()), Some(2));
        world.apply_pipeline(NAME, spec).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let adopted = world.topic_is_ready(&dead_letters).await;
        assert_eq!(condition(&adopted, "Adopted").map(|(status, _, _)| status), Some("True".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_refused_with_a_sentence_that_says_what_to_do() {
    story("unfailing", async |world| {
        let topic = world.furnish().await;
        let (spec, _, dead_letters) = failing_spec(world, &topic);

        // What one processor says is looked at by the API server; here the operator takes a look at others.
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.kafka_has_replicas(&dead_letters, &[3; 2]).await;
        let rival = |change: &dyn Fn(&mut Value)| {
            let mut rival = spec.clone();
            let mut ledger = spec["processors"][1].clone();
            ledger["consumes"]["group"] = json!(world.name("rival"));
            ledger["deadLetter"]["topic"] = json!(world.name("rivals-dlq"));
            change(&mut ledger);
            rival["processors"] = json!([ledger]);
            rival
        };
        let stalls = async |spec: Value, said: &[&str]| {
            world.apply_pipeline("rival", spec).await.unwrap();
            eventually(&format!("the rival's status says {said:?}"), SOON, async || {
                let message = world.pipeline_stalls("rival").await;
                ensure(said.iter().all(|word| message.contains(word)), || message)
            })
            .await;
        };
        stalls(
            rival(&|p| p["deadLetter"]["topic"] = json!(dead_letters)),
            &[&dead_letters, &format!("belongs to EventPipeline {}/{NAME}", world.namespace)],
        )
        .await;
        stalls(
            rival(&|p| p["retry"]["backoff"] = json!({"initial": "1m", "max": "1s"})),
            &["retry.backoff.max of processor ledger is 1s"],
        )
        .await;
        let mine = json!({"topicName": world.name("mine"), "partitions": 2, "replicas": 3, "deletionPolicy": "Delete"});
        world.apply_topic("mine", mine).await.unwrap();
        world.topic_is_ready("mine").await;
        stalls(
            rival(&|p| p["retry"]["topic"] = json!(world.name("mine"))),
            &["has 2 partitions", &format!("set spec.partitions of {}/mine to 3 or more", world.namespace)],
        )
        .await;
        assert_eq!(
            world.partitions_in_kafka(&world.name("mine")),
            Some(vec![3; 2]),
            "it is not the operator's to change"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_can_read_ends_as_a_dead_letter_and_the_status_says_so() {
    story("poison", async |world| {
        let topic = world.furnish().await;
        let (spec, _, dead_letters) = failing_spec(world, &topic);
        world.apply_pipeline(NAME, spec).await.unwrap();
        world.pipeline_is_ready(NAME).await;

        let (partition, offset) = world.produce(&topic, "stranger", b"no event of ours").await;
        let found = eventually("both projectors have given the record up", LATER, async || {
            let found = world.records_in_kafka(&dead_letters);
            ensure(found.len() == 2, || format!("{found:?}")).map(|()| found)
        })
        .await;
        let mut groups: Vec<String> = Vec::new();
        for record in &found {
            assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some("stranger"), Some("no event of ours")));
            let header = |name: &str| record.headers.get(name).map(String::as_str).unwrap_or_default();
            assert_eq!(header(headers::ORIGIN_TOPIC), topic);
            assert_eq!(header(headers::ORIGIN_PARTITION), partition.to_string());
            assert_eq!(header(headers::ORIGIN_OFFSET), offset.to_string());
            assert_eq!(header(headers::ERROR_CLASS), "Poison");
            assert!(!header(headers::ERROR).is_empty());
            groups.push(header(headers::GROUP).to_owned());
        }
        groups.sort();
        assert_eq!(groups, [world.name("ledger"), world.name("read-model")]);

        // Nobody else waits for it.
        let body = json!({"walletId": "ada", "ownerId": "ada", "currency": "EUR"});
        world.call("own-commands", "wallets", Some(body)).await.unwrap();
        let mut database = world.tenant_database().await;
        eventually("a wallet that came later is in the read model", SOON, async || {
            row_is(&mut database, "ada", 1, "0.00").await?;
            world.call("own-commands", "wallets/ada", None).await.map(drop)
        })
        .await;

        // The status is written at most every 30 s.
        eventually("the status counts dead letters, and nothing is behind", LATER, async || {
            let status = world.pipeline(&world.namespace, NAME).await?["status"].clone();
            let counted = |line: &Value| line["deadLetters"] == 2 && line["lagRecords"] == 0;
            let lines: Vec<&Value> = status["processors"].as_array().into_iter().flatten().skip(1).collect();
            let ready = lines.len() == 2 && lines.into_iter().all(counted);
            ensure(ready && status["summary"]["deadLetters"] == 2, || status.to_string())
        })
        .await;
    })
    .await;
}
