//! Group offsets -> lag in records and seconds, rates, retry depth and dead letters -> status, metrics and decisions. All groups of a cluster
//! are read together, in a number of requests that depends on the brokers and not on the groups.
//!
//! [`survey`] asks, [`engine`] knows what was asked before and says what it means ([`timeline`]: when records arrived; [`probes`]: what waits is
//! looked at where that tells more; [`progress`]: rates), [`readings`] keeps it for status and decisions, [`series`] shows it to Prometheus.

mod backlog;
mod engine;
mod kafka_exporter;
mod probes;
mod progress;
mod readings;
mod series;
mod survey;
mod timeline;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use futures::future;
use kube::runtime::reflector::ObjectRef;
use tidegate_crds::{EventPipeline, pipeline::Processor};
use tokio::time::{MissedTickBehavior, interval};

use self::series::{Cycle, Shown};
pub use self::{
    engine::Engine,
    readings::{PartitionReading, RATE_WINDOW, Reading, Readings, Totals},
    series::Series,
    survey::Wanted,
};
use crate::{context::Context, scaling};

/// The time of day, measured from one look at it: it does not jump with the machine's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    at: i64,
}

impl Clock {
    /// Looks at the machine's time, once.
    pub fn start() -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self { started: Instant::now(), at: i64::try_from(at).unwrap_or(i64::MAX) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.at.saturating_add(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Runs a cycle per interval, for ever.
pub async fn run(context: Arc<Context>) {
    context.filling.done().await;
    let clock = Clock::start();
    let mut engines = BTreeMap::new();
    let mut ticks = interval(context.config.lag_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What is shown, for as long as it is kept.
    let mut _shown = None;
    loop {
        ticks.tick().await;
        let (mut news, cycle) = cycle(&context, &mut engines, clock).await;
        let cycle = Arc::new(cycle);
        context.metrics.lag.publish(&cycle);
        _shown = Some(cycle);
        news.extend(scaling::cycle(&context));
        for pipeline in news {
            let _ = context.pipeline_triggers.send(pipeline);
        }
    }
}

/// Reads all groups; the pipelines whose status is to show something else, and what there is to show.
async fn cycle(
    context: &Context,
    engines: &mut BTreeMap<String, Engine>,
    clock: Clock,
) -> (Vec<ObjectRef<EventPipeline>>, Cycle) {
    let (began, began_at) = (Instant::now(), clock.now());
    for connection in context.connections.keys() {
        engines.entry(connection.clone()).or_default();
    }
    let clusters = engines.iter_mut().filter_map(|(connection, engine)| {
        let gateway = context.connections.get(connection)?;
        let (pipelines, wanted): (Vec<_>, Vec<_>) = consuming(context, connection).into_iter().unzip();
        Some(async move {
            let readings = engine.read(gateway.lag(), &wanted, &|| clock.now()).await;
            let of = pipelines.into_iter().zip(wanted).zip(readings);
            (connection, of.collect::<Vec<_>>(), gateway.lag_requests())
        })
    });
    let (mut processors, mut requests) = (Vec::new(), BTreeMap::new());
    let (mut news, mut exist) = (Vec::new(), BTreeSet::new());
    for (connection, readings, sent) in future::join_all(clusters).await {
        let now = Instant::now();
        requests.extend(sent.into_iter().map(|(broker, sent)| ((connection.clone(), broker), sent)));
        for ((pipeline, wanted), reading) in readings {
            let reading = Arc::new(reading);
            let key = (pipeline.metadata.uid.clone().unwrap_or_default(), wanted.processor.clone());
            processors.push(shown(&pipeline, connection, wanted, reading.clone()));
            exist.insert(key.clone());
            if context.readings.take(key, reading, now) {
                news.push(ObjectRef::from_obj(pipeline.as_ref()));
            }
        }
    }
    context.readings.retain(|key| exist.contains(key));
    let ended = Instant::now();
    (news, Cycle { began_at, ended, processors, seconds: (ended - began).as_secs_f64(), requests })
}

fn shown(pipeline: &EventPipeline, connection: &str, wanted: Wanted, reading: Arc<Reading>) -> Shown {
    Shown {
        namespace: pipeline.metadata.namespace.clone().unwrap_or_default(),
        pipeline: pipeline.metadata.name.clone().unwrap_or_default(),
        processor: wanted.processor,
        connection: connection.to_owned(),
        group: wanted.consumes.group,
        dead_letters: wanted.dead_letters,
        reading,
    }
}

/// The processors that consume on a connection, each with its pipeline.
fn consuming(context: &Context, connection: &str) -> Vec<(Arc<EventPipeline>, Wanted)> {
    let of = |pipeline: Arc<EventPipeline>| {
        let wanted = pipeline.spec.processors.iter().filter_map(wanted);
        wanted.map(|wanted| (pipeline.clone(), wanted)).collect::<Vec<_>>()
    };
    let here = context.pipelines.state_filter(|pipeline| pipeline.spec.connection() == connection);
    here.into_iter().flat_map(of).collect()
}

fn wanted(processor: &Processor) -> Option<Wanted> {
    Some(Wanted {
        processor: processor.name.clone(),
        consumes: processor.consumes.clone()?,
        retries: processor.retry_topics().into_iter().map(|(_, topic)| topic).collect(),
        dead_letters: processor.dead_letter.as_ref().map(|dead_letter| dead_letter.topic.clone()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_kafka::{KafkaAdmin, NewTopic, WriteMode};

    use super::*;
    use crate::testing::World;

    fn pipeline(name: &str, group: &str) -> EventPipeline {
        let consumes = json!({"topics": ["events"], "group": group});
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {"name": name, "namespace": "bank", "uid": name},
            "spec": {
                "kafka": {"user": {"secretRef": {"name": "kafka"}}},
                "processors": [
                    {"name": "commands", "run": {"wallet": {"role": "Commands"}}},
                    {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": consumes},
                ],
            },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_cycle_is_for_decisions_for_the_status_and_for_whoever_scrapes() {
        let world = World::new();
        world.twin.create_topics(&[NewTopic::new("events", 1, 3)], WriteMode::Apply).await;
        world.twin.produce("events", 0, &[1, 2, 3]).unwrap();
        world.twin.commit("one", "events", 0, 1);
        for (name, group) in [("first", "one"), ("second", "two")] {
            world.watch_pipeline(&pipeline(name, group));
        }
        let (mut engines, clock) = (BTreeMap::new(), Clock::start());

        let (news, read) = cycle(&world.context, &mut engines, clock).await;
        assert_eq!(news.len(), 2, "the first reading of each is to be shown");
        let read = Arc::new(read);
        world.context.metrics.lag.publish(&read);
        let (latest, _) = world.context.readings.latest("first", "ledger").unwrap();
        assert_eq!((latest.lag, world.context.readings.shown("second", "ledger").unwrap().lag), (Some(2), Some(3)));
        assert!(world.context.readings.latest("first", "commands").is_none(), "it reads nothing");
        let text = world.context.metrics.text().unwrap();
        let series = r#"tidegate_processor_lag_records{namespace="bank",pipeline="first",processor="ledger"} 2.0"#;
        assert!(text.lines().any(|line| line == series), "{text}");

        world.twin.forget_calls();
        world.context.metrics.text().unwrap();
        assert_eq!(world.twin.calls().len(), 0, "a scrape asks Kafka nothing");
        let (news, _) = cycle(&world.context, &mut engines, clock).await;
        assert_eq!(news.len(), 0, "the same again is no news");
        drop(read);
        assert!(!world.context.metrics.text().unwrap().contains("tidegate_processor_lag"), "it was not kept");
    }
}
