//! Reads dead letters of a processor: the newest first, as far as somebody waits for them.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidegate_crds::{
    EventPipeline,
    pipeline::{Processor, RedriveStatus},
};
use tidegate_kafka::{ErrorCode, KafkaAdmin, LoggedRecord, OffsetSpec, TopicPartition};
use tidegate_settings::failure::headers;

use super::{
    refusal::Refusal,
    view::{End, Filter, Letter, Listing, Whole},
};
use crate::{
    conditions,
    pipeline::{
        offsets::{listed, partitions},
        redrive,
    },
};

/// Offsets of a partition that are read before older ones are.
const WINDOW: i64 = 500;
/// Offsets that one question may cost.
const LOOK: i64 = 200_000;

/// Where the dead letters of a processor are.
#[derive(Clone, Debug)]
pub struct Source {
    topic: String,
    group: String,
    /// Topics whose records can be redriven.
    retried: Vec<String>,
    redrives: Vec<RedriveStatus>,
}

/// How far a partition has been looked at: from the newest offset down to `high`.
struct Head {
    start: i64,
    high: i64,
    found: usize,
}

impl Source {
    /// Where they are, if the operator works for this spec: what it has refused (a topic that belongs to others, say) gives no right to
    /// read.
    pub fn of(pipeline: &EventPipeline, processor: &str) -> Result<Self, Refusal> {
        let name = pipeline.metadata.name.as_deref().unwrap_or_default();
        let known = |one: &&Processor| one.name == processor;
        let Some(found) = pipeline.spec.processors.iter().find(known) else {
            let names: Vec<_> = pipeline.spec.processors.iter().map(|processor| processor.name.as_str()).collect();
            let names = names.join(", ");
            return Err(Refusal::NotFound(format!("{name} has no processor {processor}; it has {names}")));
        };
        let (Some(dead_letter), Some(consumes)) = (&found.dead_letter, &found.consumes) else {
            return Err(Refusal::NotFound(format!("processor {processor} has no deadLetter.topic")));
        };
        let status = pipeline.status.as_ref();
        let seen = status.is_some_and(|status| status.observed_generation == pipeline.metadata.generation);
        if !seen || status.is_some_and(|status| conditions::is_true(&status.conditions, "Stalled")) {
            return Err(Refusal::Conflict(format!(
                "the operator does not work for the spec of {name} as it is; `kubectl tidegate status {name}` says why"
            )));
        }
        Ok(Self {
            topic: dead_letter.topic.clone(),
            group: consumes.group.clone(),
            retried: found.retry_topics().into_iter().map(|(source, _)| source.to_owned()).collect(),
            redrives: redrive::known(pipeline, processor).into_iter().cloned().collect(),
        })
    }

    fn is_its(&self, record: &LoggedRecord) -> bool {
        record.header(headers::GROUP) == Some(&self.group)
    }

    /// Redrives that may have taken a record along.
    fn redrives(&self, record: &LoggedRecord) -> Vec<&RedriveStatus> {
        let goes = |topic: &str| self.retried.iter().any(|retried| retried == topic);
        let redrivable = record.header(headers::ORIGIN_TOPIC).is_some_and(goes);
        self.redrives.iter().filter(|_| redrivable).collect()
    }
}

/// The newest `limit` that the filter wants, as far as they are found within `patience`.
pub async fn list(
    admin: &dyn KafkaAdmin,
    source: &Source,
    filter: &Filter,
    limit: usize,
    patience: Duration,
) -> Result<Listing, Refusal> {
    let deadline = Instant::now() + patience;
    let (mut heads, mut letters, mut dropped) = (heads(admin, source).await?, Vec::new(), false);
    let left = |heads: &BTreeMap<_, Head>| heads.values().map(|head| head.high - head.start).sum::<i64>();
    let held = left(&heads);
    let end = loop {
        let open = heads.iter().filter(|(_, head)| head.high > head.start && head.found < limit);
        let mut next: BTreeMap<TopicPartition, i64> =
            open.map(|(key, head)| (key.clone(), head.start.max(head.high - WINDOW))).collect();
        if next.is_empty() {
            break if dropped || left(&heads) > 0 { End::Limit } else { End::All };
        }
        if held - left(&heads) >= LOOK {
            break End::Budget;
        }
        let lows = next.clone();
        while !next.is_empty() && Instant::now() < deadline {
            for (key, read) in admin.read_records(&next).await {
                let Some(head) = heads.get_mut(&key) else { continue };
                let portion = match read {
                    Ok(portion) => portion,
                    // Retention was faster.
                    Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                        next.remove(&key);
                        continue;
                    }
                    Err(error) => return Err(Refusal::Unavailable(error.to_string())),
                };
                let here = |record: &&LoggedRecord| record.offset < head.high;
                for record in portion.records.iter().filter(here) {
                    if source.is_its(record) && filter.wants(record) {
                        head.found += 1;
                        letters.push(Letter::of(&key, record, &source.redrives(record)));
                    }
                }
                // An answer may have no room for a partition: it is asked again.
                if portion.next >= head.high.min(portion.end) {
                    next.remove(&key);
                } else {
                    next.insert(key, portion.next);
                }
            }
            letters.sort_by_key(|letter| Reverse((letter.at, letter.offset)));
            dropped |= letters.len() > limit;
            letters.truncate(limit);
        }
        if !next.is_empty() {
            break End::Budget;
        }
        for (key, low) in lows {
            heads.entry(key).and_modify(|head| head.high = low);
        }
    };
    Ok(Listing { letters, held, looked: held - left(&heads), end })
}

/// The one at a place.
pub async fn show(admin: &dyn KafkaAdmin, source: &Source, partition: i32, offset: i64) -> Result<Whole, Refusal> {
    let (topic, heads) = (&source.topic, heads(admin, source).await?);
    let key = TopicPartition::new(topic, partition);
    let Some(head) = heads.get(&key) else {
        let last = heads.len().saturating_sub(1);
        return Err(Refusal::NotFound(format!("{topic} has no partition {partition}; it has 0 to {last}")));
    };
    if !(head.start..head.high).contains(&offset) {
        let (start, end) = (head.start, head.high);
        let holds = if start < end { format!("offsets {start} to {}", end - 1) } else { "nothing".to_owned() };
        return Err(Refusal::NotFound(format!(
            "there is no offset {offset} in {topic}/{partition}, which holds {holds}"
        )));
    }
    let read = admin.read_records(&[(key.clone(), offset)].into()).await.remove(&key);
    let portion = match read {
        Some(Ok(portion)) => portion,
        Some(Err(error)) => return Err(Refusal::Unavailable(error.to_string())),
        None => return Err(Refusal::Unavailable("Kafka's answer is empty".to_owned())),
    };
    match portion.records.iter().find(|record| record.offset == offset) {
        Some(record) if source.is_its(record) => Ok(Whole::of(&key, record, &source.redrives(record))),
        Some(_) => Err(Refusal::NotFound(format!(
            "what is at {topic}/{partition}:{offset} was not given up by group {}",
            source.group
        ))),
        None => Err(Refusal::NotFound(format!("offset {offset} of {topic}/{partition} is no record, or is gone"))),
    }
}

async fn heads(admin: &dyn KafkaAdmin, source: &Source) -> Result<BTreeMap<TopicPartition, Head>, Refusal> {
    let ask = async {
        let partitions = partitions(admin, std::slice::from_ref(&source.topic)).await?;
        let starts = listed(admin, &partitions, OffsetSpec::Earliest).await?;
        Ok((starts, listed(admin, &partitions, OffsetSpec::LastStable).await?))
    };
    let (starts, ends) = ask.await.map_err(Refusal::Unavailable)?;
    let head = |(key, high): (TopicPartition, i64)| {
        let start = starts.get(&key).copied().unwrap_or_default();
        (key, Head { start, high: high.max(start), found: 0 })
    };
    Ok(ends.into_iter().map(head).collect())
}
