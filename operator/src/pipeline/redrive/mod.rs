//! Redrive: copies of dead letters go back through the retry topic, in Kafka transactions that also carry how far the copying is. [`plan`]
//! decides, [`letters`] says what is written, this reads and writes.

mod letters;
mod plan;
#[cfg(test)]
mod simulation_tests;
mod turn;

use std::collections::BTreeMap;

use tidegate_crds::{
    EventPipeline,
    pipeline::{Processor, RedriveStatus},
};
use tidegate_kafka::{AdminError, CommittedOffset, KafkaAdmin, OffsetSpec, TopicPartition, Transactor};
use tidegate_settings::PartitionOffsets;

pub use self::letters::redriven;
use self::letters::{Position, Wanted, batch, earlier};
pub use self::turn::turn;
use super::{
    offsets::{all, flat, listed, nested, one, partitions},
    once,
};

/// What a redrive is called in Kafka: a transactional id, and the group whose offsets tell how far it is.
#[derive(Clone, Debug)]
struct Names {
    transactional_id: String,
    group: String,
}

impl Names {
    fn new(namespace: &str, pipeline: &str, processor: &str, id: &str) -> Self {
        let transactional_id = format!("tidegate-redrive.{namespace}.{pipeline}.{processor}");
        Self { group: format!("{transactional_id}.{id}"), transactional_id }
    }
}

/// Why there is nothing to redrive; the schema says the same, for those who use a recent one.
fn refusal(processor: &Processor) -> Option<String> {
    (processor.dead_letter.is_none() || processor.retry_topics().is_empty()).then(|| {
        format!(
            "processor {} has no dead letters that could go through a retry topic; set retry in mode Topic and deadLetter",
            processor.name
        )
    })
}

/// Redrives of a processor that have looked at its dead letters, as the status has them.
pub fn known<'a>(pipeline: &'a EventPipeline, processor: &str) -> Vec<&'a RedriveStatus> {
    let records = pipeline.status.as_ref().map_or(&[][..], |status| &status.redrives);
    earlier(&once::of(records, processor), "")
}

/// Where the dead-letter topic ends, as those who read committed records see it.
async fn ends(admin: &dyn KafkaAdmin, processor: &Processor) -> Result<PartitionOffsets, String> {
    let topics: Vec<_> = processor.dead_letter.iter().map(|dead_letter| dead_letter.topic.clone()).collect();
    let partitions = partitions(admin, &topics).await?;
    Ok(nested(&listed(admin, &partitions, OffsetSpec::LastStable).await?))
}

/// How far a redrive is. Only whoever writes under its id may believe it: the transaction of another could still be under way.
async fn progress(admin: &dyn KafkaAdmin, group: &str) -> Result<BTreeMap<TopicPartition, Position>, String> {
    let committed = one(admin.committed_offsets(&[group.to_owned()]).await)?;
    Ok(committed.iter().map(|(key, commit)| (key.clone(), Position::read(commit))).collect())
}

/// Why copying failed.
#[derive(Debug)]
enum Trouble {
    /// It may work later.
    Again(String),
    /// A dead letter does not fit into its retry topic.
    TooLarge(String),
}

/// Copies some dead letters. False if there was nothing to be had at the moment.
async fn copy(
    admin: &dyn KafkaAdmin,
    (writer, names): (&dyn Transactor, &Names),
    processor: &Processor,
    (record, records): (&RedriveStatus, &[&RedriveStatus]),
    (positions, room): (&BTreeMap<TopicPartition, Position>, i64),
) -> Result<bool, Trouble> {
    let until = flat(&record.until);
    let unfinished: Vec<TopicPartition> = until
        .iter()
        .filter(|(key, end)| positions.get(key).is_none_or(|position| position.next < **end))
        .map(|(key, _)| key.clone())
        .collect();
    // What retention has removed cannot be redriven.
    let starts = listed(admin, &unfinished, OffsetSpec::Earliest).await.map_err(Trouble::Again)?;
    let from = |key: &TopicPartition| {
        let next = positions.get(key).map_or(0, |position| position.next);
        next.max(starts.get(key).copied().unwrap_or_default())
    };
    let wanted = unfinished.iter().map(|key| (key.clone(), from(key))).collect();
    let portions = all(admin.read_records(&wanted).await).map_err(Trouble::Again)?;
    let mut retries = BTreeMap::new();
    for (source, topic) in processor.retry_topics() {
        let count = partitions(admin, std::slice::from_ref(&topic)).await.map_err(Trouble::Again)?.len();
        retries.insert(source, (topic, i32::try_from(count).unwrap_or(i32::MAX)));
    }
    let wanted = Wanted {
        group: processor.consumes.as_ref().map(|consumes| consumes.group.as_str()).unwrap_or_default(),
        retries,
        error_class: record.error_class.as_deref(),
        earlier: earlier(records, &record.id),
    };
    let batch = batch(&wanted, portions, positions, &until, room);
    let commits: BTreeMap<_, _> = batch.positions.into_iter().map(|(key, position)| (key, position.commit())).collect();
    let goes_on = |(key, commit): (&TopicPartition, &CommittedOffset)| {
        positions.get(key).is_none_or(|position| position.next < commit.offset)
    };
    if !commits.iter().any(goes_on) {
        return Ok(false);
    }
    writer.write(batch.words, &names.group, &commits).await.map_err(|error| trouble(&error))?;
    Ok(true)
}

fn trouble(error: &AdminError) -> Trouble {
    match error.code() {
        Some(tidegate_kafka::ErrorCode::MESSAGE_TOO_LARGE) => Trouble::TooLarge(error.to_string()),
        _ => Trouble::Again(error.to_string()),
    }
}
