//! Where a partition begins: at what was finished of it, with what is still parked, which is heard before its first record.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, ConsumerContext},
    error::KafkaError,
};
use tidegate_settings::StartAt;
use tokio::time::sleep;

use super::{ANSWER, Consuming, Partition, words};
use crate::{
    backoff::Backoff,
    consumer::{
        HandlerError,
        book::{Book, Commit, RetryState},
        context::Assigned,
        retries::RetryQueue,
        work::{Kept, Work},
    },
};

/// Where a partition is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// From that offset.
    At(i64),
    /// From that offset, which is the oldest: those before it and not yet finished are gone.
    After { oldest: i64, lost: i64 },
    /// Nowhere: the topic ends before what was finished, so it is not the topic that it was.
    Nowhere { newest: i64 },
}

/// Where to read from, given what was finished and the offsets that there are.
fn start(finished: Option<i64>, start_at: StartAt, (oldest, newest): (i64, i64)) -> Start {
    match (finished, start_at) {
        (None, StartAt::Earliest) => Start::At(oldest),
        (None, StartAt::Latest) => Start::At(newest),
        (Some(next), _) if next < oldest => Start::After { oldest, lost: oldest - next },
        (Some(next), _) if next > newest => Start::Nowhere { newest },
        (Some(next), _) => Start::At(next),
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{doing}: {source}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error("where the partition is kept: {0}")]
    Kept(#[from] HandlerError),
    #[error("somebody else has just moved the partition")]
    Moved,
    #[error("a later replay has begun")]
    Superseded,
}

fn on(doing: &'static str) -> impl Fn(KafkaError) -> StartError {
    move |source| StartError::Kafka { doing, source }
}

/// Puts the partition where it is. Tries until it works; none if there is no such place.
pub(super) async fn position<W: Work>(partition: &Partition<'_, W>) -> Option<Consuming> {
    let Assigned { topic, partition: number, .. } = partition.assigned;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut tries = 0;
    loop {
        match begin(partition).await {
            Ok(ready) => return ready,
            Err(StartError::Superseded) => {
                partition.shared.superseded.cancel();
                return None;
            }
            // Soon after an assignment a partition cannot be moved yet.
            Err(error) if tries < 3 => tracing::debug!(%topic, partition = number, %error, "positioning the partition"),
            Err(error) => tracing::warn!(%topic, partition = number, %error, "positioning the partition"),
        }
        tries += 1;
        sleep(backoff.next()).await;
    }
}

async fn begin<W: Work>(partition: &Partition<'_, W>) -> Result<Option<Consuming>, StartError> {
    let Assigned { topic, partition: number, consumer, .. } = partition.assigned;
    // First of all, even where the offset is kept elsewhere: Kafka does not answer before transactions that hold this offset have
    // ended, so that after it no earlier owner writes to the retry partition.
    partition.transacted();
    let in_kafka = committed(consumer, topic, *number).await.map_err(on("asking for the committed offset"))?;
    let (kept, begins) = match partition.shared.work.kept(partition).await? {
        Kept::InKafka => (in_kafka, None),
        Kept::Nowhere => (None, partition.shared.config.generation.offset(topic, *number)),
        Kept::At { offset, state } => (Some((offset, state)), None),
        Kept::Superseded => return Err(StartError::Superseded),
    };
    let (finished, text) = kept.unzip();
    let watermarks = seek(partition, finished.or(begins)).await.map_err(on("finding the offset"))?;
    let offset = match watermarks {
        Start::At(offset) => offset,
        Start::After { oldest, lost } => {
            tracing::error!(%topic, partition = number, oldest, lost, "records were removed before they were handled");
            partition.shared.metrics.lost(topic, lost.unsigned_abs());
            oldest
        }
        Start::Nowhere { newest } => {
            tracing::error!(
                %topic,
                partition = number,
                finished,
                newest,
                "the topic ends before what was finished of it: it is not the topic that it was; the partition stops"
            );
            return Ok(None);
        }
    };
    let kept =
        finished.map(|offset| Commit { offset, retry_low: 0, state: text.as_deref().unwrap_or_default().into() });
    let (book, retry) = hear(partition, offset, text.unwrap_or_default()).await?;
    let mut book = book;
    // Noted before the first record, so that a second start begins at the same place.
    let now = book.commit();
    if kept.as_ref().is_none_or(|kept| kept.offset != now.offset || kept.state != now.state)
        && !partition.shared.work.keep(partition, kept.as_ref(), &now).await?
    {
        return Err(StartError::Moved);
    }
    partition.reached(&now);
    tracing::info!(%topic, partition = number, offset, parked = book.parked(), "reading");
    Ok(Some(Consuming { book, retry, kept: now }))
}

/// Offset and metadata that the group has committed.
async fn committed<C: ConsumerContext + 'static>(
    consumer: &Arc<rdkafka::consumer::StreamConsumer<C>>,
    topic: &str,
    partition: i32,
) -> Result<Option<(i64, String)>, KafkaError> {
    let (consumer, topic) = (Arc::clone(consumer), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, partition);
        let answered = consumer.committed_offsets(list, ANSWER)?;
        let Some(element) = answered.find_partition(&topic, partition) else { return Ok(None) };
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        })
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Puts the source partition where it is to be read from.
async fn seek<W>(partition: &Partition<'_, W>, finished: Option<i64>) -> Result<Start, KafkaError> {
    let Assigned { topic, partition: number, consumer, .. } = partition.assigned;
    let start_at = partition.shared.config.start_at;
    let (consumer, topic, number) = (Arc::clone(consumer), Arc::clone(topic), *number);
    let sought = tokio::task::spawn_blocking(move || {
        let start = start(finished, start_at, consumer.fetch_watermarks(&topic, number, ANSWER)?);
        if let Start::At(offset) | Start::After { oldest: offset, .. } = start {
            consumer.seek(&topic, number, Offset::Offset(offset), ANSWER)?;
        }
        Ok(start)
    });
    sought.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Reads the retry partition to its end.
async fn hear<W>(
    partition: &Partition<'_, W>,
    offset: i64,
    text: String,
) -> Result<(Book, Option<RetryQueue>), StartError> {
    let Assigned { topic, partition: number, .. } = partition.assigned;
    let book =
        |state: &RetryState| Book::new(Arc::clone(&partition.policy), partition.shared.config.limits(), offset, state);
    let (Some(retries), Some(retry_topic)) = (&partition.shared.retries, &partition.retry_topic) else {
        return Ok((book(&RetryState::default()), None));
    };
    let mut state = match RetryState::decode(&text) {
        Some(state) => state,
        // Somebody has set the group's offsets by hand, or this is the first time.
        None => {
            let low = committed(&retries.consumer, retry_topic, *number).await;
            let low = low.map_err(on("asking how far the retry partition is"))?;
            RetryState { end: low.map_or(0, |(offset, _)| offset), unfinished: BTreeMap::new() }
        }
    };
    let (oldest, newest) =
        retries.settled(retry_topic, *number, ANSWER).await.map_err(on("looking at the retry partition"))?;
    if state.end > newest {
        tracing::error!(%topic, partition = number, %retry_topic, "the retry topic is not the one that it was");
        partition.shared.metrics.lost(topic, state.unfinished.len() as u64);
        state = RetryState::default();
    }
    let mut book = book(&state);
    let queue =
        retries.open(retry_topic, *number, state.low().max(oldest)).map_err(on("opening the retry partition"))?;
    // Where nothing can be unheard there is no end to wait for.
    if state.low() < newest {
        let mut words = words(Some(&queue));
        while let Some(word) = words.next().await {
            if !partition.hear(&mut book, word) {
                break;
            }
        }
    }
    let missing = book.heard_all(newest);
    if missing > 0 {
        tracing::error!(%topic, partition = number, %retry_topic, missing, "parked records were removed before they were handled");
        partition.shared.metrics.lost(topic, missing as u64);
    }
    Ok((book, Some(queue)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_finished_decides_where_a_partition_is_read_from() {
        for (finished, start_at, begins) in [
            (None, StartAt::Earliest, Start::At(10)),
            (None, StartAt::Latest, Start::At(20)),
            (Some(10), StartAt::Earliest, Start::At(10)),
            (Some(15), StartAt::Latest, Start::At(15)),
            (Some(20), StartAt::Earliest, Start::At(20)),
            (Some(7), StartAt::Latest, Start::After { oldest: 10, lost: 3 }),
            (Some(21), StartAt::Earliest, Start::Nowhere { newest: 20 }),
        ] {
            assert_eq!(start(finished, start_at, (10, 20)), begins, "{finished:?} {start_at:?}");
        }
    }
}
