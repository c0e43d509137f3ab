//! Conversations: what is written to Kafka and to the API server, and what stays when one of them does not answer.

use serde_json::{Value, json};
use tidegate_kafka::{
    Acl, Api, KafkaAdmin, Operation, PatternType, ResourceType,
    twin::{Fault, Twin},
};

use super::*;
use crate::testing::{World, last_status};

const SECRET: &str = "wallet-ledger-kafka";
const A: &str = "test.bank.wallet.ledger.a";
const B: &str = "test.bank.wallet.ledger.b";

fn pipeline(annotations: Value) -> EventPipeline {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {
            "name": "wallet", "namespace": "bank", "uid": "u-1", "annotations": annotations, "finalizers": [FINALIZER],
        },
        "spec": {"kafka": {"user": {"managed": {}}}, "processors": [{
            "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
            "consumes": {"topics": ["events"], "group": "ledger"},
        }]},
    }))
    .unwrap()
}

fn with_status(mut pipeline: EventPipeline, conversation: &[(String, Value)]) -> EventPipeline {
    pipeline.status = last_status(conversation).map(|status| serde_json::from_value(status).unwrap());
    pipeline
}

async fn prepare(world: &World, pipeline: &EventPipeline) -> Result<Standing, PipelineError> {
    let about = ObjectReference::default();
    Users { context: &world.context, pipeline, about: &about }.prepare().await
}

async fn retire(world: &World, pipeline: &EventPipeline, hash: &str) -> bool {
    let about = ObjectReference::default();
    let rolled = [("ledger".to_owned(), hash.to_owned())].into();
    Users { context: &world.context, pipeline, about: &about }.retire(&rolled).await.unwrap()
}

async fn end(world: &World, pipeline: &EventPipeline) -> Result<Left, PipelineError> {
    let about = ObjectReference::default();
    finish(&Users { context: &world.context, pipeline, about: &about }).await
}

fn version(standing: Result<Standing, PipelineError>) -> String {
    match standing {
        Ok(Standing::Ready(versions)) => versions["ledger"].clone(),
        other => panic!("{other:?}"),
    }
}

/// Whether the user that the Secret holds is let in.
fn is_let_in(world: &World, user: &str) -> bool {
    let (username, password) =
        secret::held(&world.secret(SECRET).expect("there is a Secret")).expect("it holds a user");
    username == user && world.twin.lets_in(&username, password.expose())
}

/// The Events of a conversation are these: the reason, and a part of what is said.
fn told(conversation: &[(String, Value)], expected: &[(&str, &str)]) {
    let events = conversation.iter().filter(|(line, _)| line.starts_with("POST events"));
    let text = |body: &Value, field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let said: Vec<_> = events.map(|(_, body)| (text(body, "reason"), text(body, "note"))).collect();
    let is_said =
        |((reason, note), (wanted, part)): (&(String, String), &(&str, &str))| reason == wanted && note.contains(part);
    assert!(said.len() == expected.len() && said.iter().zip(expected).all(is_said), "{said:#?} is not {expected:#?}");
}

fn foreign(user: &str) -> Acl {
    Acl::allow(user, Operation::READ, ResourceType::TOPIC, PatternType::LITERAL, "secrets")
}

#[tokio::test]
async fn a_user_is_made_with_its_rights_and_the_secret_holds_it() {
    let world = World::new();
    let mut fresh = pipeline(json!({}));
    fresh.metadata.finalizers = None;

    assert_eq!(version(prepare(&world, &fresh).await), "1");

    assert!(is_let_in(&world, A));
    let rights: Vec<String> = world.twin.acls().iter().map(ToString::to_string).filter(|acl| acl.contains(A)).collect();
    assert_eq!(rights.len(), 4, "{rights:#?}");
    let conversation = world.conversation();
    told(&conversation, &[("KafkaUserCreated", "was made; Secret wallet-ledger-kafka holds it")]);
    let lines: Vec<&str> = conversation.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines[0], "PATCH eventpipelines/wallet", "the finalizer comes first: {lines:?}");
    let recorded = lines.iter().position(|line| *line == "PATCH eventpipelines/wallet/status").unwrap();
    let written = lines.iter().position(|line| *line == "POST secrets").unwrap();
    assert!(recorded < written, "{lines:?}");
    let status = last_status(&conversation).unwrap();
    assert_eq!(status["users"][0]["username"], A);
    assert_eq!(status["users"][0]["secretVersion"], "1");
    let said = format!("{conversation:?}");
    let (_, password) = secret::held(&world.secret(SECRET).unwrap()).unwrap();
    assert!(said.matches(password.expose()).count() == 0, "the password is in no status and no Event");
}

#[tokio::test]
async fn a_user_is_on_record_before_kafka_is_written_to() {
    let world = World::new();
    world.twin.fail_all(Fault::Unreachable);
    assert!(prepare(&world, &pipeline(json!({}))).await.is_err());
    world.twin.heal();
    world.twin.fail_next(Api::CreateAcls, Fault::Unreachable);
    assert!(prepare(&world, &pipeline(json!({}))).await.is_err());
    let status = last_status(&world.conversation()).expect("the user is on record");
    assert_eq!(status["users"][0]["phase"], "Active");
    assert_eq!(world.twin.user_names(), Vec::<String>::new());
}

#[tokio::test]
async fn whatever_answer_is_lost_the_next_attempt_ends_with_a_user_that_is_let_in() {
    for api in [Api::CreateAcls, Api::AlterUsers] {
        let world = World::new();
        world.twin.lose_next_answer(api);
        // The claim is an ACL too.
        let _ = prepare(&world, &pipeline(json!({}))).await;
        let pipeline = with_status(pipeline(json!({})), &world.conversation());

        // The operator died, and another goes on.
        let after = World::after(&world.twin);
        version(prepare(&after, &pipeline).await);
        assert!(is_let_in(&after, A), "{api:?}");
    }
}

#[tokio::test]
async fn at_rest_kafka_is_not_asked() {
    let world = World::new();
    let pipeline = pipeline(json!({}));
    prepare(&world, &pipeline).await.unwrap();
    world.watch_secrets();
    world.twin.forget_calls();

    assert_eq!(version(prepare(&world, &pipeline).await), "1");

    assert_eq!(world.twin.calls(), Vec::new());
}

#[tokio::test]
async fn a_secret_that_was_deleted_is_made_again_with_another_password() {
    let world = World::new();
    let pipeline = pipeline(json!({}));
    prepare(&world, &pipeline).await.unwrap();
    let (_, before) = secret::held(&world.secret(SECRET).unwrap()).unwrap();
    world.asked();
    world.delete_secret(SECRET);

    assert_eq!(version(prepare(&world, &pipeline).await), "2");

    assert!(is_let_in(&world, A));
    assert!(!world.twin.lets_in(A, before.expose()));
    told(
        &world.conversation(),
        &[("CredentialsReplaced", "Secret wallet-ledger-kafka was missing or did not hold what it should")],
    );
}

#[tokio::test]
async fn what_somebody_did_to_rights_is_noticed_and_undone_with_an_event() {
    let world = World::new();
    let pipeline = pipeline(json!({}));
    prepare(&world, &pipeline).await.unwrap();
    world.watch_pipeline(&pipeline);
    assert_eq!(watch::meddled(&world.context, std::time::Duration::ZERO).await, []);
    let before = world.twin.acls();
    world.asked();
    let lost = before.iter().find(|acl| acl.principal.ends_with(A)).unwrap();
    world.twin.delete_acls(&[AclFilter::from(lost)].into()).await;
    world.twin.create_acls(&[foreign(A), foreign("somebody")].into()).await;

    assert_eq!(watch::meddled(&world.context, std::time::Duration::ZERO).await.len(), 1);
    prepare(&world, &pipeline).await.unwrap();

    let mut expected = before;
    expected.insert(foreign("somebody"));
    assert_eq!(world.twin.acls(), expected, "others' ACLs are left alone");
    told(
        &world.conversation(),
        &[("KafkaRightsReverted", "put back: "), ("KafkaRightsReverted", "taken away again: ")],
    );
    assert_eq!(watch::meddled(&world.context, std::time::Duration::ZERO).await, []);
}

#[tokio::test]
async fn while_kafka_is_down_who_has_a_user_goes_on_and_who_has_none_waits() {
    let world = World::new();
    prepare(&world, &pipeline(json!({}))).await.unwrap();
    let pipeline = with_status(pipeline(json!({})), &world.conversation());
    world.twin.fail_all(Fault::Unreachable);

    // Nothing is remembered, as after a restart; the Secret is still there.
    world.context.users.forget("u-1");
    assert!(matches!(prepare(&world, &pipeline).await, Ok(Standing::Unsure(versions)) if versions["ledger"] == "1"));
    world.delete_secret(SECRET);
    assert!(matches!(prepare(&world, &pipeline).await, Err(PipelineError::Kafka(_))));
}

#[tokio::test]
async fn an_operator_that_may_not_is_told_what_it_lacks() {
    let world = World::new();
    let denied = Fault::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed.".into());
    world.twin.fail_next(Api::CreateAcls, denied);
    let Ok(Standing::Refused(refusal)) = prepare(&world, &pipeline(json!({}))).await else { panic!("it is refused") };
    assert_eq!(refusal.reason, "KafkaRefuses");
    assert!(refusal.message.contains("Alter and Describe on the cluster"), "{}", refusal.message);
}

#[tokio::test]
async fn names_that_another_kubernetes_cluster_claims_are_not_touched() {
    let twin = Twin::new();
    claim::claim(&twin, "test", "another-cluster").await.unwrap();
    let world = World::after(&twin);
    let Ok(Standing::Refused(refusal)) = prepare(&world, &pipeline(json!({}))).await else { panic!("it is refused") };
    assert_eq!(refusal.reason, "InstallationIdTaken");
    assert!(refusal.message.contains("another-cluster"), "{}", refusal.message);
    assert_eq!(twin.user_names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_former_user_goes_when_every_pod_began_with_the_other() {
    let world = World::new();
    prepare(&world, &pipeline(json!({}))).await.unwrap();
    let asked = pipeline(json!({"tidegate.dev/rotate-credentials": "monday"}));
    let asked = with_status(asked, &world.conversation());

    assert_eq!(version(prepare(&world, &asked).await), "2");
    assert!(is_let_in(&world, B));
    assert_eq!(world.twin.user_names(), [A, B], "pods of before are let in still");
    world.pods(&["old", "new"]);
    assert!(!retire(&world, &asked, "new").await);
    assert_eq!(world.twin.user_names(), [A, B]);

    world.pods(&["new", "new"]);
    assert!(retire(&world, &asked, "new").await);

    assert_eq!(world.twin.user_names(), [B]);
    assert!(!world.twin.acls().iter().any(|acl| acl.principal.ends_with(A)));
    assert_eq!(version(prepare(&world, &asked).await), "2", "once a value");
    let conversation = world.conversation();
    told(
        &conversation,
        &[
            ("CredentialsRotating", "takes the place of processor ledger's former one"),
            ("KafkaUserRemoved", "and its rights were removed: no pod uses it any more"),
        ],
    );
    let status = last_status(&conversation).unwrap();
    assert_eq!(status["users"].as_array().unwrap().len(), 1);
    assert_eq!(status["users"][0]["rotation"], "monday");
}

fn ending(pipeline: EventPipeline) -> EventPipeline {
    let mut json = serde_json::to_value(pipeline).unwrap();
    json["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn with_the_pipeline_go_its_users_after_its_pods_and_nobody_elses() {
    let world = World::new();
    prepare(&world, &pipeline(json!({}))).await.unwrap();
    world.twin.create_acls(&[foreign("somebody")].into()).await;
    let pipeline = ending(with_status(pipeline(json!({})), &world.conversation()));

    world.pods(&["one that ends"]);
    assert_eq!(end(&world, &pipeline).await.unwrap(), Left::Pods);
    assert_eq!(world.twin.user_names(), [A]);
    world.pods(&[]);
    world.twin.fail_next(Api::DeleteUsers, Fault::Unreachable);
    assert!(end(&world, &pipeline).await.is_err());
    assert!(!world.asked().contains(&"PATCH eventpipelines/wallet".to_owned()), "the finalizer stays");

    assert_eq!(end(&world, &pipeline).await.unwrap(), Left::Nothing);

    assert_eq!(world.twin.user_names(), Vec::<String>::new());
    let left: Vec<String> = world.twin.acls().iter().map(|acl| acl.principal.clone()).collect();
    assert_eq!(left, ["User:somebody", "User:test.installation"]);
    let conversation = world.conversation();
    let last = conversation.iter().rfind(|(line, _)| line == "PATCH eventpipelines/wallet").unwrap();
    assert_eq!(last.1["metadata"]["finalizers"], json!([]));
}

#[tokio::test]
async fn what_is_abandoned_goes_without_kafka() {
    let world = World::new();
    prepare(&world, &pipeline(json!({}))).await.unwrap();
    world.twin.fail_all(Fault::Unreachable);
    let pipeline = ending(pipeline(json!({"tidegate.dev/abandon": "true"})));
    world.asked();

    assert_eq!(end(&world, &pipeline).await.unwrap(), Left::Nothing);

    assert_eq!(world.twin.user_names(), [A]);
    told(&world.conversation(), &[("Abandoned", "tidegate.dev/abandon")]);
}

#[tokio::test]
async fn users_without_a_pipeline_are_removed_when_they_were_seen_twice() {
    let world = World::new();
    let twin = &world.twin;
    let password = || tidegate_settings::binding::Secret::new("password");
    let names = [A, "test.bank.gone.ledger.b", "test.bank.gone", "other.bank.gone.ledger.a", "admin"];
    twin.upsert_users(&names.map(|name| (name.to_owned(), password())).into()).await;
    twin.create_acls(&[foreign("test.bank.gone.ledger.a"), foreign("admin")].into()).await;
    world.watch_pipeline(&pipeline(json!({})));

    let suspects = watch::orphans(&world.context, &BTreeSet::new()).await;
    let suspected: Vec<&str> = suspects.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(suspected, ["test.bank.gone.ledger.a", "test.bank.gone.ledger.b"]);
    assert_eq!(twin.user_names().len(), names.len(), "seen once");

    assert_eq!(watch::orphans(&world.context, &suspects).await, BTreeSet::new());
    assert_eq!(twin.user_names(), ["admin", "other.bank.gone.ledger.a", "test.bank.gone", A]);
    assert!(twin.acls().contains(&foreign("admin")));
    assert!(!twin.acls().contains(&foreign("test.bank.gone.ledger.a")));
}

#[tokio::test]
async fn users_that_look_like_ours_and_are_another_clusters_are_left_alone() {
    let twin = Twin::new();
    claim::claim(&twin, "test", "another-cluster").await.unwrap();
    twin.upsert_users(&[(A.to_owned(), tidegate_settings::binding::Secret::new("password"))].into()).await;
    let world = World::after(&twin);
    let suspects = watch::orphans(&world.context, &BTreeSet::new()).await;
    watch::orphans(&world.context, &suspects).await;
    assert_eq!(twin.user_names(), [A]);
}
