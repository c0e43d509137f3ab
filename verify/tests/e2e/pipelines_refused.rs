//! What the API server refuses of a pipeline, each with the sentence that a person reads: a table of all rules of the schema.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{World, story};

/// Where in the spec, and what is there instead; null: nothing.
type Edit = (&'static str, Value);

/// Edits of the wallet of [`World::wallet_spec`], of which processor 0 produces and the others consume; and a part of what is said.
fn cases() -> Vec<(Vec<Edit>, &'static str)> {
    let long = "g".repeat(240);
    let dead = ("1/deadLetter", json!({"topic": "dead"}));
    let retried = |retry: Value| vec![("1/retry", retry), dead.clone()];
    let lag = |lag: Value| vec![("1/lag", lag)];
    let scaled = |scaling: Value| vec![("1/replicas", Value::Null), ("1/scaling", scaling)];
    let replayed = |replay: Value| vec![("1/replay", replay)];
    let contained = |container: Value| vec![("1/run", json!({"container": container}))];
    let earliest = json!({"position": "Earliest"});
    vec![
        (vec![("/database", Value::Null)], "the wallet keeps its events in a database; set spec.database"),
        (
            vec![("2/consumes/group", json!("g")), ("1/consumes/group", json!("g"))],
            "a consumer group belongs to one processor",
        ),
        (vec![("1/name", json!("1st"))], "begin the name with a letter and use only"),
        // What runs.
        (vec![("1/run", json!({}))], "run takes exactly one program"),
        (vec![("1/run/container", json!({"image": "a"}))], "run takes exactly one program"),
        ([contained(json!({"image": "a"})), vec![("1/image", json!("b"))]].concat(), "a container has one image"),
        (contained(json!({"image": "a", "user": 0})), "run.container.user"),
        (contained(json!({"image": "a", "health": {"readiness": "readyz"}})), "health.readiness"),
        (vec![("0/http", Value::Null)], "role Commands is the wallet's HTTP API; set http"),
        (vec![("0/produces", Value::Null)], "roles Commands and Publisher publish to a topic"),
        (vec![("1/consumes", Value::Null)], "a projector reads a topic as a group"),
        (
            vec![("1/podLabels", json!({"app.kubernetes.io/name": "mine"}))],
            "labels under tidegate.dev/ and app.kubernetes.io/",
        ),
        (vec![("1/podAnnotations", json!({"tidegate.dev/settings-hash": "0"}))], "annotations under tidegate.dev/"),
        // Records that fail.
        (vec![("0/deadLetter", json!({"topic": "dead"}))], "retry and deadLetter are about records that are read"),
        (vec![("1/retry", json!({}))], "after the last try a record needs somewhere to go"),
        (retried(json!({"attempts": 0})), "retry.attempts"),
        (retried(json!({"backoff": {"max": "5 s"}})), "retry.backoff.max"),
        (retried(json!({"topic": "a b"})), "choose another retry.topic"),
        (retried(json!({"topic": "."})), "choose another retry.topic"),
        (vec![("1/deadLetter", json!({"topic": "__dlq"}))], "choose another deadLetter.topic"),
        (retried(json!({"mode": "InPlace", "topic": "again"})), "mode InPlace uses no retry topic"),
        (
            [retried(json!({"topic": "again"})), vec![("1/consumes/topics", json!(["a", "b"]))]].concat(),
            "retry.topic is one name, and consumes.topics has several topics, which need one each",
        ),
        ([retried(json!({})), vec![("1/consumes/group", json!(long))]].concat(), "would be no name that Kafka takes"),
        (retried(json!({"topic": "events"})), "retry.topic is a topic that the processor reads or writes already"),
        (
            vec![("1/deadLetter", json!({"topic": "events"}))],
            "deadLetter.topic is a topic that the processor reads or writes already",
        ),
        (retried(json!({"topic": "dead"})), "retry.topic and deadLetter.topic are one topic"),
        // Lag.
        (vec![("0/lag", json!({"objective": "10s"}))], "lag is about records that are read; set consumes"),
        (lag(json!({"objective": "5s"})), "the least lag.objective is 10s"),
        (lag(json!({"objective": "31d"})), "lag.objective is at most 30d"),
        (lag(json!({"target": "100%"})), "lag.target must be below 100%"),
        (lag(json!({"target": "94.9%"})), "lag.target must be 95% or more"),
        (lag(json!({"window": "6d"})), "lag.window is 7d to 30d"),
        (lag(json!({"window": "240h"})), "lag.window is 7d to 30d"),
        (lag(json!({"alert": {"labels": {"severity": "x"}}})), "are set by the operator; choose other names"),
        (lag(json!({"alert": {"labels": {"two words": "x"}}})), "a label's name begins with a letter or underscore"),
        (lag(json!({"alert": {"disabled": ["LagHigh"]}})), "PipelineLagHigh"),
        // Scaling.
        (vec![("1/scaling", json!({"max": 2}))], "scaling decides how many pods there are, and replicas would too"),
        (
            vec![("0/replicas", Value::Null), ("0/scaling", json!({"max": 2}))],
            "scaling follows the lag of a consumer group",
        ),
        (scaled(json!({"min": 3, "max": 2})), "scaling.min is more than scaling.max"),
        (scaled(json!({"max": 2, "targetLag": "5s"})), "a targetLag of less than 10s cannot be kept"),
        (scaled(json!({"max": 2, "scaleOutWindow": "29s"})), "a shorter scaleOutWindow would act on the pods before"),
        (scaled(json!({"max": 2, "scaleInWindow": "10s"})), "a shorter scaleInWindow would act on noise"),
        // What is done once.
        (vec![("0/replay", json!({"id": "a", "from": earliest}))], "replay is about records that are read"),
        (
            replayed(json!({"id": "-a", "from": earliest})),
            "replay.id: Invalid value: \"string\": begin and end the id with a letter or digit",
        ),
        (replayed(json!({"id": "a", "from": {"replay": "a"}})), "replay.from.replay is the id of this replay"),
        (
            replayed(json!({"id": "a", "from": {"offsets": {"b": {"0": 1}}}})),
            "names a topic that the processor does not read",
        ),
        (replayed(json!({"id": "a", "from": {"position": "Earliest", "replay": "b"}})), "replay.from"),
        (replayed(json!({"id": "a"})), "replay.from"),
        (vec![("1/redrive", json!({"id": "a"})), dead.clone()], "redrive copies dead letters into the retry topic"),
        (
            [retried(json!({})), vec![("1/redrive", json!({"id": "a."}))]].concat(),
            "redrive.id: Invalid value: \"string\": begin and end the id with a letter or digit",
        ),
    ]
}

/// Names that no pipeline may have, and a part of what is said.
fn names() -> [(String, &'static str); 2] {
    [
        ("two.words".to_owned(), "metadata.name becomes part of Services' names"),
        ("p".repeat(60), "is longer than the 63 characters that Kubernetes takes"),
    ]
}

/// `1/lag` is in the second processor, `/database` in the spec.
fn edit(spec: &mut Value, (at, value): &Edit) {
    let path = if at.starts_with('/') { (*at).to_owned() } else { format!("/processors/{at}") };
    let (parent, field) = path.rsplit_once('/').expect("a path begins with a slash");
    let parent =
        spec.pointer_mut(parent).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("{at} has no parent"));
    match value {
        Value::Null => drop(parent.remove(field)),
        value => drop(parent.insert(field.to_owned(), value.clone())),
    }
}

async fn refusal(world: &World, name: &str, spec: Value) -> String {
    match world.apply_pipeline(name, spec.clone()).await {
        Ok(_) => panic!("{name} was taken: {spec}"),
        Err(kube::Error::Api(status)) if status.code == 422 => status.message.clone(),
        Err(error) => panic!("{spec} was not refused as invalid, but: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_pipeline_may_be_is_refused_at_apply_with_a_sentence_that_says_what_to_do() {
    story("unfit", async |world| {
        world.make_namespace().await;
        let good = world.wallet_spec("events");
        for (edits, said) in cases() {
            let mut bad = good.clone();
            edits.iter().for_each(|one| edit(&mut bad, one));
            let refusal = refusal(world, "own", bad).await;
            assert!(refusal.contains(said), "{refusal} lacks {said}");
        }
        for (name, said) in names() {
            let refusal = refusal(world, &name, good.clone()).await;
            assert!(refusal.contains(said), "{refusal} lacks {said}");
        }
    })
    .await;
}

/// The sentences of a definition's rules.
fn sentences(definition: &str) -> BTreeSet<String> {
    fn collect(schema: &Value, found: &mut BTreeSet<String>) {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        found.extend(rules.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
        let fields = schema.as_object().into_iter().flatten().map(|(_, value)| value);
        fields.chain(schema.as_array().into_iter().flatten()).for_each(|value| collect(value, found));
    }
    let mut found = BTreeSet::new();
    collect(&serde_saphyr::from_str(definition).expect("a definition is YAML"), &mut found);
    found
}

#[test]
fn every_rule_of_the_schemas_is_told_of() {
    let pipelines: Vec<_> = cases().into_iter().map(|(_, said)| said).chain(names().map(|(_, said)| said)).collect();
    let topics = crate::topics_refused::sentences();
    for (definition, said, least) in [
        (include_str!("../../../crds/yaml/eventpipelines.yaml"), pipelines, 40),
        (include_str!("../../../crds/yaml/kafkatopics.yaml"), topics, 8),
    ] {
        let rules = sentences(definition);
        assert!(rules.len() >= least, "{rules:?}");
        // A case may name the field before the sentence.
        let sentence = |said: &&str| said.rsplit_once("\": ").map_or(*said, |(_, sentence)| sentence).to_owned();
        let told: Vec<String> = said.iter().map(sentence).collect();
        let untold: Vec<_> = rules.iter().filter(|rule| !told.iter().any(|said| rule.contains(said))).collect();
        assert!(untold.is_empty(), "no case makes the API server say: {untold:#?}");
    }
}
