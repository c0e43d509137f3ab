//! Growing a topic whose records somebody waits for in order or in retry topics. Pure: which step comes next, from the step on record and from
//! what is seen. Every step can be entered again after a crash, because what it does is decided by what is seen and not by what was done.
//!
//! More partitions move keys: a record written after the growth may be in another partition than its predecessor, and be read before it.
//! So whoever writes is stopped, whoever reads gets through, the retry topics grow (a record waits in the partition that it came from), the
//! topic grows, and whoever writes goes on.

use tidegate_crds::topic::{GrowthStep, TopicGrowth};

use super::plan::Refusal;

/// What a growth depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Processors that declare to write to the topic.
    pub writers: Vec<Writer>,
    /// Processors that read it.
    pub readers: Vec<Reader>,
    /// Retry topics of those.
    pub retries: Vec<RetryTopic>,
}

/// A processor that writes to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// `namespace/pipeline/processor`.
    pub name: String,
    /// Pods that exist, those that are ending included; none while unknown.
    pub pods: Option<usize>,
}

/// A processor that reads the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// `namespace/pipeline/processor`.
    pub name: String,
    /// It relies on the order of each key.
    pub ordered: bool,
    /// Records that it is behind, those that wait to be tried again included, as read after the step was entered; none while unknown.
    pub waiting: Option<i64>,
}

/// A retry topic of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryTopic {
    /// Name in Kafka.
    pub name: String,
    /// Partitions that it has; none while unknown.
    pub partitions: Option<i32>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Put this on record, and look again.
    Enter(TopicGrowth, Refusal),
    /// Look again later.
    Wait(Refusal),
    /// Grow the topic: everything else is done.
    Grow,
    /// It cannot be done.
    Refuse(Refusal),
}

/// What comes next on the way to `to` partitions of `topic`.
pub fn next(topic: &str, to: i32, recorded: Option<&TopicGrowth>, around: &Surroundings) -> Next {
    let ordered = around.readers.iter().any(|reader| reader.ordered);
    if let Some(refusal) = loops(topic, around) {
        return Next::Refuse(refusal);
    }
    let enter = |step| {
        let growth = TopicGrowth { to, step, producers_stopped: ordered, since: None };
        Next::Enter(growth, Refusal::new(reason(step), intention(topic, to, step)))
    };
    let recorded = recorded.filter(|growth| growth.to == to && growth.producers_stopped == ordered);
    let Some(growth) = recorded else {
        let small = |retry: &RetryTopic| retry.partitions.is_none_or(|partitions| partitions < to);
        return match ordered {
            true => enter(GrowthStep::StoppingProducers),
            false if around.retries.iter().any(small) => enter(GrowthStep::GrowingRetryTopics),
            false => Next::Grow,
        };
    };
    let wait = |message: String| Next::Wait(Refusal::new(reason(growth.step), message));
    let running = around.writers.iter().find(|writer| ordered && writer.pods != Some(0));
    match (growth.step, running) {
        (GrowthStep::StoppingProducers, Some(writer)) => wait(match writer.pods {
            Some(pods) => {
                format!("to grow topic {topic} to {to} partitions, {pods} pods of {} are being stopped", writer.name)
            }
            None => format!("it is not known yet whether pods of {} still write to topic {topic}", writer.name),
        }),
        // One that was started since.
        (_, Some(_)) => enter(GrowthStep::StoppingProducers),
        (GrowthStep::StoppingProducers, None) => enter(GrowthStep::Draining),
        (GrowthStep::Draining, None) => {
            match around.readers.iter().find(|reader| reader.ordered && reader.waiting != Some(0)) {
                Some(reader) => wait(undrained(topic, to, reader)),
                None => enter(GrowthStep::GrowingRetryTopics),
            }
        }
        (GrowthStep::GrowingRetryTopics, None) => {
            let small = |retry: &&RetryTopic| retry.partitions.is_none_or(|partitions| partitions < to);
            match around.retries.iter().find(small) {
                Some(retry) => wait(format!(
                    "topic {topic} grows to {to} partitions after its retry topic {}, whose records wait in the partitions that they \
                     came from",
                    retry.name
                )),
                None => enter(GrowthStep::Growing),
            }
        }
        (GrowthStep::Growing, None) => Next::Grow,
    }
}

/// A processor that reads the topic in order and writes to it can be neither stopped nor waited for.
fn loops(topic: &str, around: &Surroundings) -> Option<Refusal> {
    let reader = around
        .readers
        .iter()
        .find(|reader| reader.ordered && around.writers.iter().any(|writer| writer.name == reader.name))?;
    Some(Refusal::new(
        "OrderedLoop",
        format!(
            "{} reads topic {topic} in order and writes to it: for the topic to grow it would have to be stopped, and to get through what \
             waits; put spec.partitions back, or set consumes.ordered of that processor to false",
            reader.name
        ),
    ))
}

fn undrained(topic: &str, to: i32, reader: &Reader) -> String {
    match reader.waiting {
        Some(records) => format!(
            "topic {topic} grows to {to} partitions when {} is through with {records} records, those in its retry topics included; if their \
             number does not fall, start its pods, settle its dead letters, or stop whoever writes to the topic without being declared \
             in a pipeline's produces; to give up, put spec.partitions back",
            reader.name
        ),
        None => format!(
            "topic {topic} grows to {to} partitions when {} is through; how far it is, is being read",
            reader.name
        ),
    }
}

fn reason(step: GrowthStep) -> &'static str {
    match step {
        GrowthStep::StoppingProducers => "StoppingProducers",
        GrowthStep::Draining => "Draining",
        GrowthStep::GrowingRetryTopics => "GrowingRetryTopics",
        GrowthStep::Growing => "Growing",
    }
}

fn intention(topic: &str, to: i32, step: GrowthStep) -> String {
    let what = match step {
        GrowthStep::StoppingProducers => "the processors that write to it are stopped",
        GrowthStep::Draining => "nobody writes to it; its readers get through what waits",
        GrowthStep::GrowingRetryTopics => "its retry topics grow before it",
        GrowthStep::Growing => "it grows",
    };
    format!("topic {topic} grows to {to} partitions: {what}")
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
