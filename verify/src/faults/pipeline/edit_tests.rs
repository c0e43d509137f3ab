use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::{EventPipeline, KafkaTopic};
use tidegate_operator::{config::ImageConfig, pipeline::render::render};

use super::*;
use crate::faults::pipeline::orphans::wished;

const EDITS: [Kind; 12] = [
    Kind::Replicas,
    Kind::Scaling,
    Kind::Retry,
    Kind::DeadLetters,
    Kind::Alerts,
    Kind::Processors,
    Kind::Users,
    Kind::Roll,
    Kind::Rotate,
    Kind::Replay,
    Kind::Redrive,
    Kind::TopicEdit,
];

fn base() -> Wanted {
    Wanted::base("faults-1", "example/prices:1")
}

fn resource<K: serde::de::DeserializeOwned>(kind: &str, name: &str, resource: &Resource) -> K {
    let metadata = json!({"name": name, "namespace": "faults-1", "annotations": resource.annotations});
    let object =
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": resource.spec});
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// What the operator would make of it: none of it is refused.
fn rendered(wanted: &Wanted) -> Vec<Value> {
    let topics: Vec<KafkaTopic> =
        wanted.topics.iter().map(|(name, topic)| resource("KafkaTopic", name, topic)).collect();
    let image: ImageConfig = serde_json::from_value(json!({"image": "example/wallet:1"})).unwrap();
    let images = BTreeMap::from([("wallet".to_owned(), image)]);
    let render = |(name, pipeline): (&String, &Resource)| {
        let pipeline: EventPipeline = resource("EventPipeline", name, pipeline);
        render(&pipeline, &topics, &images).unwrap_or_else(|error| panic!("{error}: {:#?}", pipeline.spec)).objects
    };
    wanted.pipelines.iter().flat_map(render).collect()
}

#[test]
fn edits_on_edits_are_taken_by_the_operator_and_ask_for_the_objects_that_it_would_make() {
    for seed in 0..20 {
        let mut random = Random::stream(seed, 0);
        let mut wanted = base();
        for serial in 0..40 {
            let kind = EDITS[random.index(EDITS.len())];
            let Some(next) = edit(kind, &wanted, &mut random, serial) else { continue };
            wanted = next.wanted;
            let (must, may) = wished(&wanted);
            let made: BTreeSet<(String, String)> = rendered(&wanted)
                .iter()
                .map(|object| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    (text(&object["kind"]), text(&object["metadata"]["name"]))
                })
                .collect();
            // Secrets of users are not rendered: a cluster makes them.
            let asked = must.iter().filter(|(kind, _)| kind != "Secret").cloned().collect::<BTreeSet<_>>();
            assert_eq!(asked.difference(&made).next(), None, "after {kind}: {}", next.what);
            assert!(made.iter().all(|object| must.contains(object) || may.contains(object)), "{made:?}");
        }
    }
}

#[test]
fn each_edit_changes_what_it_says_and_nothing_of_others() {
    for kind in EDITS {
        for seed in 0..50 {
            let mut random = Random::stream(seed, 0);
            let Some(Edit { wanted, name, what }) = edit(kind, &base(), &mut random, 7) else {
                panic!("{kind} found nothing to change");
            };
            let base = base();
            let changed = |before: &BTreeMap<String, Resource>, after: &BTreeMap<String, Resource>| {
                before
                    .iter()
                    .filter(|(name, resource)| after.get(*name) != Some(resource))
                    .map(|(name, _)| name.clone())
                    .collect::<Vec<_>>()
            };
            let mut found = changed(&base.topics, &wanted.topics);
            found.extend(changed(&base.pipelines, &wanted.pipelines));
            // One may come to what there is by chance.
            assert!(found == [name.clone()] || found.is_empty(), "{kind} of {name} changed {found:?}: {what}");
            assert!(!what.is_empty());
        }
    }
}

#[test]
fn kinds_that_are_no_edit_change_nothing() {
    for kind in Kind::ALL.iter().filter(|kind| !EDITS.contains(kind)) {
        assert_eq!(edit(*kind, &base(), &mut Random::stream(1, 0), 1), None, "{kind}");
    }
}

#[test]
fn processors_come_go_and_change_their_names_and_all_of_it_can_be_taken_back() {
    let mut random = Random::stream(5, 0);
    let mut wanted = base();
    let mut said = BTreeSet::new();
    for serial in 0..60 {
        let Edit { wanted: next, what, .. } = edit(Kind::Processors, &wanted, &mut random, serial).unwrap();
        said.insert(what);
        wanted = next;
    }
    assert_eq!(said.len(), 6, "{said:?}");
    for serial in 0..60 {
        wanted = edit(Kind::TopicEdit, &wanted, &mut random, serial).unwrap().wanted;
    }
    let restored = wanted.restored(&base());
    assert_eq!(restored.pipelines, base().pipelines);
    for (name, topic) in &restored.topics {
        assert_eq!(topic.spec["partitions"], wanted.topics[name].spec["partitions"], "partitions cannot be taken back");
        assert_eq!(topic.spec["config"], base().topics[name].spec["config"]);
    }
    assert!(restored.topics["orders"].spec["partitions"].as_i64() > Some(3));
    assert_eq!(restored.topics["events"].spec["partitions"], 3, "what is read in order does not grow");
}
