//! Every topic compared with what was seen when its resource was last at rest, all in a few Kafka requests. Only those that
//! differ are reconciled: an idle cycle asks the API server nothing and writes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use kube::runtime::reflector::ObjectRef;
use tidegate_crds::KafkaTopic;

use super::memory::digest;
use crate::{alerts::metrics::TopicLabels, context::Context};

/// Runs a cycle per interval, for ever.
pub async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(context.config.drift_interval).await;
        for topic in cycle(&context).await {
            // The controller is there for as long as this is.
            let _ = context.topic_triggers.send(topic);
        }
        context.metrics.drift_cycle();
    }
}

/// Looks at all topics that are at rest; those that deserve a closer look.
pub async fn cycle(context: &Context) -> Vec<ObjectRef<KafkaTopic>> {
    let mut differ = Vec::new();
    for (connection, gateway) in &context.connections {
        let mut at_rest: BTreeMap<String, Vec<Arc<KafkaTopic>>> = BTreeMap::new();
        for topic in context.topics.state_filter(|topic| topic.connection() == connection) {
            let uid = topic.metadata.uid.as_deref().unwrap_or_default();
            if context.topic_memories.with(uid, |memory| memory.handled.is_some()) {
                at_rest.entry(topic.topic_name().to_owned()).or_default().push(topic);
            }
        }
        if at_rest.is_empty() {
            continue;
        }
        let brokers = match gateway.refresh().await {
            Ok(cluster) => cluster.brokers.len(),
            Err(error) => {
                tracing::warn!(connection, %error, "topics cannot be compared with their resources");
                continue;
            }
        };
        let now = Instant::now();
        for (name, sighting) in gateway.observe_all(&at_rest.keys().cloned().collect::<Vec<_>>()).await {
            let sighting = match sighting {
                Ok(sighting) => sighting,
                Err(error) => {
                    tracing::debug!(topic = name, %error, "a topic could not be looked at");
                    continue;
                }
            };
            for topic in at_rest.remove(&name).unwrap_or_default() {
                let uid = topic.metadata.uid.as_deref().unwrap_or_default();
                let (closer, health) = context.topic_memories.with(uid, |memory| {
                    let (health, _) = memory.note(&sighting, now);
                    let seen = digest(sighting.as_ref().map(|(observation, _)| observation), health);
                    let other_brokers = memory.refused.as_ref().is_some_and(|refused| refused.brokers != brokers);
                    (memory.handled.is_some_and(|handled| handled != seen) || other_brokers, health)
                });
                context.metrics.resources.topic_health(&TopicLabels::of(&topic.metadata), health);
                if closer {
                    differ.push(ObjectRef::from_obj(topic.as_ref()));
                }
            }
        }
    }
    differ
}
