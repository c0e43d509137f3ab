//! Kafka users that the operator makes: what one may do and what not, how they are exchanged under load, and that nothing is left of them.

use kube::api::DeleteParams;
use rdkafka::error::RDKafkaErrorCode as Code;
use serde_json::{Value, json};
use tidegate_kafka::{Acl, KafkaAdmin, Operation, PatternType, ResourceType};

use crate::world::{LATER, SOON, World, ensure, eventually, requests::delete, story};

const NAME: &str = "own";
const ROTATE: &str = "tidegate.dev/rotate-credentials";

/// A wallet of one's own whose users are managed and whose projectors give up what they cannot read.
fn managed_spec(world: &World, topic: &str) -> Value {
    let mut spec = world.wallet_spec(topic);
    spec["kafka"] = json!({"user": {"managed": {}}});
    for at in [1, 2] {
        spec["processors"][at]["retry"] = json!({"attempts": 2, "backoff": {"initial": "100ms", "max": "1s"}});
        spec["processors"][at]["deadLetter"] = json!({"topic": world.name("dlq")});
    }
    spec
}

fn users(pipeline: &Value) -> Vec<Value> {
    pipeline["status"]["users"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_processor_needs_and_nothing_else() {
    story("users", async |world| {
        let topic = world.furnish().await;
        let spec = managed_spec(world, &topic);
        refused_at_apply(world, &spec).await;
        world.apply_pipeline(NAME, spec).await.unwrap();
        world.pipeline_is_ready(NAME).await;

        // It is enough: money goes in and comes out, and what nobody understands ends where it should, in a transaction.
        world.open_ada().await;
        world.deposit().await;
        world.deposits_are_projected(1).await;
        let commands = world.who_has(&world.namespace, "own-commands-kafka").await;
        assert_eq!(commands.username, format!("tidegate.{}.own.commands.a", world.namespace));
        assert_eq!(commands.writes(&topic).await, Ok(()));
        let dead_letters = world.name("dlq");
        eventually("both projectors' dead letters", LATER, async || {
            let found = world.records_in_kafka(&dead_letters);
            ensure(found.len() == 2, || format!("{found:?}"))
        })
        .await;

        // And no more than that.
        let ledger = world.who_has(&world.namespace, "own-ledger-kafka").await;
        let (group, other_group) = (world.name("ledger"), world.name("read-model"));
        let foreign = world.name("users-foreign");
        world.create_topic_by_hand(&foreign, 1).await;
        assert_eq!(ledger.sees(&topic), Ok(()));
        assert_eq!(ledger.reads(&topic, 0, &group), Ok(()));
        assert_eq!(ledger.reads_offsets_of(&group, &topic), Ok(()));
        assert_eq!(ledger.takes(&format!("{group}.story")), Ok(()));
        for (what, outcome, code) in [
            ("writing what it only reads", ledger.writes(&topic).await, Code::TopicAuthorizationFailed),
            ("looking at another topic", ledger.sees(&foreign), Code::TopicAuthorizationFailed),
            ("writing another topic", ledger.writes(&foreign).await, Code::TopicAuthorizationFailed),
            ("reading dead letters", ledger.reads(&dead_letters, 0, &group), Code::TopicAuthorizationFailed),
            ("offsets of another group", ledger.reads_offsets_of(&other_group, &topic), Code::GroupAuthorizationFailed),
            ("joining another group", ledger.joins(&other_group, &topic), Code::GroupAuthorizationFailed),
            ("joining a group of nobody", ledger.joins(&foreign, &topic), Code::GroupAuthorizationFailed),
            ("another transactional id", ledger.takes(&other_group), Code::TransactionalIdAuthorizationFailed),
            (
                "the relay's transactional id",
                ledger.takes(&format!("kafka-publisher.{}.own.0", world.namespace)),
                Code::TransactionalIdAuthorizationFailed,
            ),
            ("creating a topic", ledger.creates(&world.name("users-new")).await, Code::TopicAuthorizationFailed),
            ("deleting a topic", ledger.deletes(&foreign).await, Code::TopicAuthorizationFailed),
            (
                "another pipeline's relay",
                commands.takes("kafka-publisher.wallet.wallet.0"),
                Code::TransactionalIdAuthorizationFailed,
            ),
        ] {
            assert_eq!(outcome, Err(code), "{what}");
        }
        rights_are_put_back(world, &ledger.username, &foreign).await;
    })
    .await;
}

/// Neither one user nor the other, both at once, or what is no object.
async fn refused_at_apply(world: &World, spec: &Value) {
    for user in
        [json!({}), json!({"managed": {}, "secretRef": {"name": "kafka"}}), json!("Managed"), json!({"magic": {}})]
    {
        let mut bad = spec.clone();
        bad["kafka"]["user"] = user.clone();
        let refusal = world.apply_pipeline(NAME, bad).await.expect_err("the API server refuses").to_string();
        assert!(refusal.contains("spec.kafka.user"), "{user}: {refusal}");
    }
}

async fn rights_are_put_back(world: &World, username: &str, foreign: &str) {
    let before = world.acls_of(username).await;
    let grant = |user: &str| Acl::allow(user, Operation::ALL, ResourceType::TOPIC, PatternType::LITERAL, foreign);
    let (rogue, theirs) = (grant(username), grant(foreign));
    let made = world.administration().create_acls(&[rogue, theirs.clone()].into()).await;
    assert!(made.values().all(Result::is_ok), "{made:?}");
    // The operator looks every minute. Until it has said so, a broker that has not heard of the grant shows what was before it.
    world.event_says_within(LATER, NAME, &["KafkaRightsReverted", foreign]).await;
    eventually("the right that somebody granted is taken away again", LATER, async || {
        let now = world.acls_of(username).await;
        ensure(now == before, || format!("{now:#?}"))
    })
    .await;
    assert_eq!(world.acls_of(foreign).await, [theirs.clone()].into(), "others' ACLs are left alone");
    world.administration().delete_acls(&[(&theirs).into()].into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_pipeline_go_its_users_and_a_deleted_secret_comes_back() {
    story("users-end", async |world| {
        let topic = world.furnish().await;
        let mut spec = managed_spec(world, &topic);
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let prefix = format!("tidegate.{}.", world.namespace);
        assert_eq!(world.users_in_kafka(&prefix).await.len(), 3);

        // A Secret that is deleted holds another password when it is back, and the old one is worth nothing.
        let before = world.who_has(&world.namespace, "own-ledger-kafka").await;
        let secrets = world.secrets(&world.namespace);
        delete(&secrets, "own-ledger-kafka", &DeleteParams::default()).await;
        eventually("the Secret is back and its user is let in", SOON, async || {
            let there = secrets.get_opt("own-ledger-kafka").await.map_err(|error| error.to_string())?;
            ensure(there.is_some(), || "there is no Secret".into())?;
            let now = world.who_has(&world.namespace, "own-ledger-kafka").await;
            let exchanged = now.logs_in_is(true) && before.logs_in_is(false);
            ensure(exchanged, || "the old password is let in, or the new one is not".into())
        })
        .await;
        world.pipeline_is_ready(NAME).await;

        // A processor that is taken out takes its user with it.
        let gone = world.who_has(&world.namespace, "own-read-model-kafka").await;
        spec["processors"].as_array_mut().unwrap().pop();
        world.apply_pipeline(NAME, spec).await.unwrap();
        users_go(world, &format!("{prefix}own.read-model.")).await;
        gone.comes_to_log_in(false).await;
        rights_go(world, &gone.username).await;

        let left = world.who_has(&world.namespace, "own-commands-kafka").await;
        left.comes_to_log_in(true).await;
        delete(&world.event_pipelines(&world.namespace), NAME, &DeleteParams::default()).await;
        users_go(world, &prefix).await;
        left.comes_to_log_in(false).await;
        rights_go(world, &left.username).await;
        eventually("the resource and its Secrets are gone", SOON, async || {
            let resource =
                world.event_pipelines(&world.namespace).get_opt(NAME).await.map_err(|error| error.to_string())?;
            let secret = secrets.get_opt("own-commands-kafka").await.map_err(|error| error.to_string())?;
            ensure(resource.is_none() && secret.is_none(), || "one of them is there".into())
        })
        .await;
    })
    .await;
}

async fn users_go(world: &World, prefix: &str) {
    eventually(&format!("users {prefix}* are gone"), LATER, async || {
        let left = world.users_in_kafka(prefix).await;
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

/// A user goes before what is said of it, and brokers hear of either in their own time.
async fn rights_go(world: &World, username: &str) {
    eventually(&format!("nothing is said of {username} any more"), SOON, async || {
        let left = world.acls_of(username).await;
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_rotate_under_load_and_nothing_is_lost() {
    story("users-rotate", async |world| {
        let pipeline =
            eventually("the wallet's pipeline can be read", SOON, async || world.pipeline("wallet", "wallet").await)
                .await;
        assert!(pipeline["spec"]["kafka"]["user"]["managed"].is_object(), "the wallet's users are managed: {pipeline}");
        let before = world.who_has("wallet", "wallet-ledger-projector-kafka").await;
        let load = world.begin_load().await;
        world.load_has_committed(&load, 200).await;

        world.annotate_pipeline("wallet", "wallet", ROTATE, &world.run).await;
        eventually("every user was exchanged", LATER * 2, async || {
            let pipeline = world.pipeline("wallet", "wallet").await?;
            let users = users(&pipeline);
            let done = |user: &Value| user["phase"] == "Active" && user["rotation"] == world.run.as_str();
            ensure(users.len() == 3 && users.iter().all(done), || pipeline["status"]["users"].to_string())
        })
        .await;

        let committed = world.committed_by(&load).await;
        world.load_has_committed(&load, committed + 200).await;
        world.load_ends_without_a_loss(load).await;
        let after = world.who_has("wallet", "wallet-ledger-projector-kafka").await;
        assert_ne!(before.username, after.username);
        after.comes_to_log_in(true).await;
        before.comes_to_log_in(false).await;
        assert_eq!(world.users_in_kafka("tidegate.wallet.wallet.").await.len(), 3);
    })
    .await;
}
