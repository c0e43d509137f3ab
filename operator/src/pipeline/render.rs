//! What would be applied for a pipeline, without a cluster to look at: by the same functions, with what a look would find assumed to be
//! as the pipeline needs it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_crds::{EventPipeline, KafkaTopic, KafkaTopicStatus};
use tidegate_settings::{LoadError, binding};

use super::{
    build::{Objects, Surroundings, build},
    owned,
    resolve::{named, topic_view},
    validate::{Objection, SecretView, TopicView, World, validate},
};
use crate::{
    alerts::{self, kinds::Served},
    config::{AlertsConfig, ImageConfig},
};

/// What would be applied, and what was taken for granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The objects as JSON, in the order in which they are applied. What owns them is left out: it has no uid yet.
    pub objects: Vec<Value>,
    /// A sentence for each thing that only a cluster knows.
    pub assumed: Vec<String>,
}

/// Why nothing would be applied.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The operator would refuse it, in these words.
    #[error("{message} ({reason})")]
    Refused {
        /// The reason of the condition.
        reason: String,
        /// Its message.
        message: String,
    },
    /// A defect.
    #[error(transparent)]
    Settings(#[from] LoadError),
    /// A defect.
    #[error("writing alerting rules: {0}")]
    Rules(#[from] serde_saphyr::SerializeError),
    /// A defect.
    #[error("writing an object as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Renders a pipeline beside the KafkaTopics that are known; `images` are those that the operator would have been installed with.
///
/// # Errors
/// When the operator would refuse the pipeline.
pub fn render(
    pipeline: &EventPipeline,
    topics: &[KafkaTopic],
    images: &BTreeMap<String, ImageConfig>,
) -> Result<Rendered, RenderError> {
    let mut assumed = Vec::new();
    let world = world(pipeline, topics, images, &mut assumed);
    // What it would wait for is on a cluster.
    if let Err(Objection::Refuse(refusal)) = validate(pipeline, &world) {
        return Err(RenderError::Refused { reason: refusal.reason, message: refusal.message });
    }
    for wish in owned::wishes(pipeline) {
        if wish.sources().iter().any(|source| world.topics.get(*source).is_none_or(|topic| topic.source.is_none())) {
            let (kind, topic, from) = (wish.kind(), &wish.topic, wish.sources().join(", "));
            assumed
                .push(format!("the KafkaTopic of {kind} {topic} is left out: what {from} is like is not in the file"));
        }
    }
    let replicas =
        pipeline.spec.processors.iter().map(|processor| (processor.name.clone(), processor.replicas.unwrap_or(1)));
    let surroundings = Surroundings {
        images,
        secrets_version: String::new(),
        own_secrets: BTreeMap::new(),
        replicas: replicas.collect(),
        generations: BTreeMap::new(),
    };
    let mut objects = Vec::new();
    for topic in owned::topics(pipeline, &world) {
        objects.push(serde_json::to_value(topic)?);
    }
    for Objects { service_account, config_map, deployment, service, disruption_budget, .. } in
        build(pipeline, &surroundings)?
    {
        objects.extend([
            serde_json::to_value(service_account)?,
            serde_json::to_value(config_map)?,
            serde_json::to_value(service)?,
            serde_json::to_value(disruption_budget)?,
            serde_json::to_value(deployment)?,
        ]);
    }
    let monitoring = alerts::objects(pipeline, &AlertsConfig::default(), Served::default())?;
    for rules in monitoring.config_maps {
        objects.push(serde_json::to_value(rules)?);
    }
    assumed.push(
        "alerting rules are made as the chart makes them by default, in ConfigMaps; a cluster that serves PrometheusRule and PodMonitor \
         gets these instead"
            .to_owned(),
    );
    objects.retain(|object| !object.is_null());
    for object in &mut objects {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("ownerReferences");
        }
    }
    Ok(Rendered { objects, assumed })
}

fn world(
    pipeline: &EventPipeline,
    topics: &[KafkaTopic],
    images: &BTreeMap<String, ImageConfig>,
    assumed: &mut Vec<String>,
) -> World {
    let mut secrets = BTreeMap::new();
    let kafka = SecretView {
        keys: binding::KAFKA_KEYS.map(str::to_owned).into(),
        plain: [("security-protocol", "SASL_SSL"), ("sasl-mechanism", "SCRAM-SHA-512")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        version: String::new(),
    };
    match pipeline.spec.kafka.brought_secret() {
        Some(name) => drop(secrets.insert(name.to_owned(), Some(kafka))),
        None => assumed.push(
            "the operator makes a Kafka user for each processor, with its rights, and a Secret with a password that is drawn then"
                .to_owned(),
        ),
    }
    if let Some(database) = &pipeline.spec.database {
        let keys = binding::DATABASE_KEYS.map(str::to_owned).into();
        secrets.insert(database.secret_ref.name.clone(), Some(SecretView { keys, ..SecretView::default() }));
    }
    let known = |name: &str| {
        let names =
            |topic: &&KafkaTopic| topic.connection() == pipeline.spec.connection() && topic.topic_name() == name;
        let topic = topics.iter().find(names)?;
        Some(topic_view(named(&topic.metadata), topic, &as_its_spec_says(topic)))
    };
    let mut views = BTreeMap::new();
    for name in pipeline.spec.processors.iter().flat_map(|processor| processor.topics()) {
        let view = known(name).unwrap_or_else(|| {
            if !views.contains_key(name) {
                assumed.push(format!("there is a KafkaTopic {name} that this pipeline may use: it is not in the file"));
            }
            TopicView { exists: true, ..TopicView::default() }
        });
        views.insert(name.to_owned(), view);
    }
    World {
        connections: [pipeline.spec.connection().to_owned()].into(),
        images: images.clone(),
        secrets,
        topics: views,
        ..World::default()
    }
}

/// The status of a topic that is as its resource wants it.
fn as_its_spec_says(topic: &KafkaTopic) -> KafkaTopicStatus {
    let config: BTreeMap<String, String> = topic
        .spec
        .config
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    KafkaTopicStatus {
        topic_id: Some(String::new()),
        partitions: Some(topic.spec.partitions),
        replicas: Some(topic.spec.replicas),
        // Kafka's own default.
        min_insync_replicas: Some(config.get("min.insync.replicas").and_then(|least| least.parse().ok()).unwrap_or(1)),
        config,
        ..KafkaTopicStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipeline(change: impl FnOnce(&mut Value)) -> EventPipeline {
        let mut value = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "metadata": {"name": "prices", "namespace": "shop"},
            "spec": {
                "kafka": {"user": {"secretRef": {"name": "kafka"}}},
                "processors": [{
                    "name": "price", "run": {"container": {"image": "registry.example/price:1"}}, "replicas": 2,
                    "consumes": {"topics": ["orders"], "group": "prices"}, "deadLetter": {"topic": "orders-dlq"},
                }],
            },
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn orders() -> KafkaTopic {
        let topic = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic", "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"partitions": 6, "replicas": 3, "config": {"min.insync.replicas": 2}},
        });
        serde_json::from_value(topic).unwrap()
    }

    fn kinds(rendered: &Rendered) -> Vec<&str> {
        rendered.objects.iter().filter_map(|object| object["kind"].as_str()).collect()
    }

    #[test]
    fn users_that_would_be_made_are_said_and_not_drawn() {
        let managed = pipeline(|v| v["spec"]["kafka"]["user"] = json!({"managed": {}}));
        let rendered = render(&managed, &[orders()], &BTreeMap::new()).unwrap();
        assert!(!kinds(&rendered).contains(&"Secret"));
        assert!(rendered.assumed[0].contains("makes a Kafka user"), "{:?}", rendered.assumed);
        assert!(serde_json::to_string(&rendered.objects).unwrap().contains("prices-price-kafka"), "it is mounted");
    }

    #[test]
    fn what_the_operator_would_apply_is_rendered_in_its_order() {
        let rendered = render(&pipeline(|_| {}), &[orders()], &BTreeMap::new()).unwrap();
        assert_eq!(
            kinds(&rendered)[..6],
            ["KafkaTopic", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "Deployment", "ConfigMap"]
        );
        assert_eq!(rendered.assumed.len(), 1, "{:?}", rendered.assumed);
        let dead_letters = &rendered.objects[0];
        assert_eq!(dead_letters["spec"]["topicName"], "orders-dlq");
        assert_eq!(
            (&dead_letters["spec"]["replicas"], &dead_letters["spec"]["config"]["min.insync.replicas"]),
            (&json!(3), &json!(2))
        );
        assert!(rendered.objects.iter().all(|object| object["metadata"]["ownerReferences"].is_null()));
    }

    #[test]
    fn what_only_a_cluster_knows_is_assumed_and_said() {
        let rendered = render(&pipeline(|_| {}), &[], &BTreeMap::new()).unwrap();
        assert_eq!(kinds(&rendered)[0], "ServiceAccount");
        assert!(rendered.assumed[0].contains("KafkaTopic orders"), "{:?}", rendered.assumed);
        assert!(rendered.assumed[1].contains("dead-letter topic orders-dlq is left out"), "{:?}", rendered.assumed);
    }

    #[test]
    fn what_the_operator_would_refuse_is_refused_in_its_words() {
        let without_image = pipeline(|v| {
            v["spec"]["database"] = json!({"secretRef": {"name": "db"}});
            v["spec"]["processors"][0]["run"] = json!({"wallet": {"role": "LedgerProjector"}});
        });
        let error = render(&without_image, &[orders()], &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("no image for wallet") && error.ends_with("(ImageUnknown)"), "{error}");
    }
}
