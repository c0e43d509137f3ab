//! The shell around [`growth`](super::growth): who writes to a topic and who reads it, what is put on record, and when to look again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use tidegate_crds::{EventPipeline, KafkaTopic, pipeline::Processor, topic::TopicGrowth};
use tidegate_settings::Consumes;

use super::{
    apply,
    desired::Desired,
    error::Stop,
    growth::{Next, Reader, RetryTopic, Surroundings, Writer, next},
    plan::{Change, Refusal},
    record::{One, Seen},
    report::Outcome,
};
use crate::{
    context::Context,
    pipeline::{may_name, running_pods},
};

/// How often it is looked how far a growth is.
const LOOK: Duration = Duration::from_secs(2);
/// How often the status says anew what it waits for.
const TELL: Duration = Duration::from_secs(15);

/// Pipelines of the topic's connection that may name it.
pub fn pipelines(context: &Context, topic: &KafkaTopic) -> Vec<Arc<EventPipeline>> {
    context.pipelines.state_filter(|pipeline| {
        pipeline.metadata.deletion_timestamp.is_none()
            && pipeline.spec.connection() == topic.connection()
            && may_name(topic, pipeline)
    })
}

/// Processors of a pipeline that read the topic.
pub fn reading<'a>(
    pipeline: &'a EventPipeline,
    topic: &'a KafkaTopic,
) -> impl Iterator<Item = (&'a Processor, &'a Consumes)> {
    let reads = move |consumes: &&Consumes| consumes.topics.iter().any(|name| name == topic.topic_name());
    let of = move |processor: &'a Processor| Some((processor, processor.consumes.as_ref().filter(reads)?));
    pipeline.spec.processors.iter().filter_map(of)
}

/// `namespace/pipeline/processor`.
pub fn name(pipeline: &EventPipeline, processor: &Processor) -> String {
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    format!("{}/{}/{}", of(&pipeline.metadata.namespace), of(&pipeline.metadata.name), processor.name)
}

impl One<'_> {
    /// What has to be done before a change may be made; none when nothing is left.
    pub(super) async fn before_growth(
        &self,
        change: &Change,
        desired: &Desired,
        seen: &Seen<'_>,
    ) -> Result<Option<Action>, Stop> {
        let Some(to) = change.grow_to else { return Ok(None) };
        let recorded = self.context.topic_memories.status(self.topic).growth;
        let around = self.surroundings(recorded.as_ref()).await;
        match next(&desired.name, to, recorded.as_ref(), &around) {
            Next::Grow => return Ok(None),
            // Not what Kafka refused: it depends on the pipelines.
            Next::Refuse(refusal) => return Ok(Some(self.rest(Outcome::Stalled(refusal), None, Some(seen)).await?)),
            Next::Wait(refusal) => {
                let told = self.memory(|memory| memory.growth_told);
                if told.is_none_or(|told| told.elapsed() >= TELL) {
                    self.memory(|memory| memory.growth_told = Some(Instant::now()));
                    self.report(Outcome::Progress(refusal), None, Some(seen)).await?;
                }
            }
            Next::Enter(growth, refusal) => {
                // Nobody is stopped for what Kafka would not take.
                if recorded.is_none() {
                    apply::validate(seen.gateway, &desired.name, change).await?;
                }
                self.enter(growth, refusal, seen).await?;
                return Ok(Some(Action::requeue(Duration::from_millis(100))));
            }
        }
        Ok(Some(Action::requeue(LOOK)))
    }

    async fn enter(&self, growth: TopicGrowth, refusal: Refusal, seen: &Seen<'_>) -> Result<(), Stop> {
        // Seconds are what the API server keeps.
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        self.memory(|memory| memory.growth_told = None);
        // Told first: nobody enters a step twice, so whoever is killed in between would have told nobody. Twice is once in an Event.
        self.context.events.normal(&self.about, &refusal.reason, "Grow", refusal.message.clone()).await;
        self.begin(TopicGrowth { since: Some(Time(now)), ..growth }, refusal, seen).await?;
        Ok(())
    }

    async fn surroundings(&self, recorded: Option<&TopicGrowth>) -> Surroundings {
        let mut around = Surroundings::default();
        let since = recorded.and_then(|growth| growth.since.as_ref()).map(|time| time.0);
        for pipeline in pipelines(self.context, self.topic) {
            for processor in &pipeline.spec.processors {
                if processor.produces.iter().flatten().any(|name| name == self.topic.topic_name()) {
                    let pods = running_pods(self.context, &pipeline, &processor.name).await;
                    around.writers.push(Writer { name: name(&pipeline, processor), pods });
                }
            }
            for (processor, consumes) in reading(&pipeline, self.topic) {
                let waiting = since.and_then(|since| self.waiting(&pipeline, processor, since));
                around.readers.push(Reader { name: name(&pipeline, processor), ordered: consumes.ordered(), waiting });
                let retries = processor.retry_topics().into_iter();
                around.retries.extend(
                    retries
                        .filter(|(source, _)| *source == self.topic.topic_name())
                        .map(|(_, retry)| RetryTopic { partitions: self.partitions_of(&retry), name: retry }),
                );
            }
        }
        around
    }

    /// Records that a processor has not handled, by a reading that was begun after `since`.
    fn waiting(&self, pipeline: &EventPipeline, processor: &Processor, since: Timestamp) -> Option<i64> {
        let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
        let (reading, at) = self.context.readings.latest(uid, &processor.name)?;
        let passed = Duration::try_from(Timestamp::now().duration_since(since)).ok()?;
        if at.elapsed() + self.context.config.lag_interval > passed {
            return None;
        }
        let here = reading.partitions.iter().filter(|partition| partition.topic == self.topic.topic_name());
        let behind: Option<Vec<i64>> = here.map(|partition| partition.lag).collect();
        let behind = behind.filter(|lags| !lags.is_empty())?.into_iter().sum::<i64>();
        let retry = if processor.retry_topics().is_empty() { 0 } else { reading.retry? };
        Some(behind.saturating_add(retry))
    }

    fn partitions_of(&self, name: &str) -> Option<i32> {
        let same = |other: &KafkaTopic| other.topic_name() == name && other.connection() == self.topic.connection();
        let found = self.context.topics.state_filter(same);
        found.iter().filter_map(|topic| self.context.topic_memories.status(topic).partitions).max()
    }
}

#[cfg(test)]
#[path = "growing_tests.rs"]
mod tests;
