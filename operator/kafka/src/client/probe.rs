//! How many readable records are left of a partition: a read_committed Fetch or a few, of which only the batches' headers are looked at.
//!
//! Offsets count what no consumer ever sees: the markers that end transactions, and the records of aborted ones (KIP-98).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future;
use krafka::{
    __private::protocol::{ApiKey, FetchPartitionRequest, FetchRequest, FetchResponse, FetchTopicRequest},
    Result as KrafkaResult,
};
use tokio::time::Instant;

use super::{
    convert,
    link::Client,
    raw::{self, Versions},
};
use crate::TopicPartition;

/// Up to v12 topics go by name, as everywhere here.
const FETCH: Versions = Versions { api: ApiKey::Fetch, min: 4, max: 12 };

/// Bytes of one partition; a broker returns at least one batch, however large.
const PARTITION_BYTES: i32 = 16 * 1_024;
/// Bytes of one response; partitions for which there is no room come back empty.
const RESPONSE_BYTES: i32 = 4 * 1_024 * 1_024;
/// How often it is asked on. A broker may end an answer before the stable end that the same answer names, and had no room for some.
const ROUNDS: usize = 4;

/// Length of a batch's header as far as it is read (magic 2, KIP-98).
const HEADER: usize = 61;
const CONTROL: u16 = 1 << 5;
const TRANSACTIONAL: u16 = 1 << 4;

type Wanted = BTreeMap<TopicPartition, i64>;
type Answers<T> = HashMap<TopicPartition, KrafkaResult<T>>;

/// What one answer said of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    /// Records that a read_committed consumer gets.
    found: i64,
    /// The offset behind what was looked at.
    next: i64,
    /// The offset behind the last stable record.
    stable: i64,
    /// Bytes there were.
    bytes: usize,
}

impl Read {
    /// Offsets that were not looked at.
    fn rest(&self) -> i64 {
        self.stable.saturating_sub(self.next).max(0)
    }

    /// Whether another answer would say more; `again` if this one was not the first.
    fn goes_on(&self, again: bool) -> bool {
        self.rest() > 0 && self.bytes < PARTITION_BYTES as usize && (self.bytes > 0 || !again)
    }
}

pub(super) async fn records(client: &Client, wanted: &Wanted, deadline: Instant) -> Answers<i64> {
    let mut answers: Answers<i64> = HashMap::new();
    let mut wanted = wanted.clone();
    for round in 0..ROUNDS {
        let mut on = Wanted::new();
        for (key, read) in ask(client, &wanted, deadline).await {
            let answer = read.map(|read| {
                if round + 1 < ROUNDS && read.goes_on(round > 0) {
                    on.insert(key.clone(), read.next);
                    return read.found;
                }
                // A large backlog counts by its offsets; where nothing at all was there, nothing is.
                read.found + if read.bytes > 0 { read.rest() } else { 0 }
            });
            let before = answers.remove(&key).unwrap_or(Ok(0));
            answers.insert(key, before.and_then(|before| answer.map(|found| before + found)));
        }
        if on.is_empty() {
            break;
        }
        wanted = on;
    }
    answers
}

async fn ask(client: &Client, wanted: &Wanted, deadline: Instant) -> Answers<Read> {
    let partitions = wanted.keys().map(|key| (key.topic.as_str(), key.partition));
    let (routed, failed) = raw::leaders(&client.kafka, partitions, deadline).await;
    let mut answers: Answers<Read> = failed
        .into_iter()
        .map(|((topic, partition), error)| (TopicPartition::new(topic, partition), Err(error)))
        .collect();
    let fetches = routed.iter().map(|(connection, led)| async move {
        let keys = led.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition));
        let wanted: Wanted = keys.filter_map(|key| wanted.get(&key).map(|from| (key, *from))).collect();
        let response = raw::exchange(connection, FETCH, &request(&wanted), deadline).await;
        answers_of(&wanted, response)
    });
    for batch in future::join_all(fetches).await {
        answers.extend(batch);
    }
    answers
}

fn request(wanted: &Wanted) -> FetchRequest {
    let mut topics: BTreeMap<&str, FetchTopicRequest> = BTreeMap::new();
    for (key, from) in wanted {
        let mut partition = FetchPartitionRequest::default();
        partition.partition = key.partition;
        partition.fetch_offset = *from;
        partition.partition_max_bytes = PARTITION_BYTES;
        let topic = topics.entry(&key.topic).or_default();
        topic.topic.clone_from(&key.topic);
        topic.partitions.push(partition);
    }
    // Without a fetch session, and answered at once, whatever there is.
    let mut request = FetchRequest::default();
    request.max_bytes = RESPONSE_BYTES;
    request.isolation_level = 1;
    request.topics = topics.into_values().collect();
    request
}

fn answers_of(wanted: &Wanted, response: KrafkaResult<FetchResponse>) -> Answers<Read> {
    let response = response.and_then(|response| raw::answer(response.error_code, None).map(|()| response));
    let response = match response {
        Ok(response) => response,
        Err(error) => return wanted.keys().map(|key| (key.clone(), Err(error.clone()))).collect(),
    };
    let mut answers: Answers<Read> = wanted.keys().map(|key| (key.clone(), Err(convert::missing()))).collect();
    for topic in response.responses {
        for found in topic.partitions {
            let key = TopicPartition::new(topic.topic.clone(), found.partition);
            let Some(from) = wanted.get(&key) else { continue };
            let answer = raw::answer(found.error_code, None).map(|()| {
                let bytes = found.records.as_deref().unwrap_or_default();
                let aborted: Vec<Aborted> = found
                    .aborted_transactions
                    .iter()
                    .map(|transaction| (transaction.producer_id, transaction.first_offset))
                    .collect();
                records_in(bytes, *from, found.last_stable_offset, &aborted)
            });
            answers.insert(key, answer);
        }
    }
    answers
}

/// An aborted transaction: its producer, its first offset.
type Aborted = (i64, i64);

/// Records in `bytes`, read from `from`, that a read_committed consumer gets.
fn records_in(bytes: &[u8], from: i64, stable: i64, aborted: &[Aborted]) -> Read {
    let mut found = 0;
    let mut ended: BTreeSet<i64> = BTreeSet::new();
    let mut next = from;
    let mut rest = bytes;
    while let Some(batch) = Batch::read(rest) {
        rest = rest.get(batch.length..).unwrap_or_default();
        if batch.last < from {
            continue;
        }
        if batch.base >= stable {
            break;
        }
        let of_aborted = |(producer, first): &Aborted| *producer == batch.producer && *first <= batch.base;
        if batch.control {
            // What this producer writes from here on belongs to another transaction.
            ended.insert(batch.producer);
        } else if !(batch.transactional && !ended.contains(&batch.producer) && aborted.iter().any(of_aborted)) {
            found += batch.last - batch.base.max(from) + 1;
        }
        next = batch.last + 1;
    }
    Read { found, next, stable, bytes: bytes.len() }
}

/// A batch's header.
struct Batch {
    base: i64,
    last: i64,
    length: usize,
    producer: i64,
    control: bool,
    transactional: bool,
}

impl Batch {
    /// The first batch of `bytes`; none where its header is cut off.
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let i64_at = |at: usize| Some(i64::from_be_bytes(header.get(at..at + 8)?.try_into().ok()?));
        let i32_at = |at: usize| Some(i32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let base = i64_at(0)?;
        let length = usize::try_from(i32_at(8)?).ok()?.checked_add(12)?;
        let attributes = u16::from_be_bytes(header.get(21..23)?.try_into().ok()?);
        Some(Self {
            base,
            last: base.checked_add(i64::from(i32_at(23)?))?,
            length,
            producer: i64_at(43)?,
            control: attributes & CONTROL != 0,
            transactional: attributes & TRANSACTIONAL != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of `count` records from `base`, without the records.
    fn batch(base: i64, count: i32, producer: i64, attributes: u16) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0..8].copy_from_slice(&base.to_be_bytes());
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        bytes
    }

    /// As it counts when nothing more is asked.
    fn counted(bytes: &[u8], from: i64, stable: i64, aborted: &[Aborted]) -> i64 {
        let read = records_in(bytes, from, stable, aborted);
        read.found + read.rest()
    }

    #[test]
    fn a_record_counts_and_a_marker_does_not() {
        assert_eq!(counted(&batch(5, 3, -1, 0), 5, 8, &[]), 3);
        assert_eq!(counted(&batch(5, 1, 7, CONTROL | TRANSACTIONAL), 5, 6, &[]), 0);
        let both = [batch(5, 1, 7, CONTROL | TRANSACTIONAL), batch(6, 2, 7, TRANSACTIONAL)].concat();
        assert_eq!(counted(&both, 5, 8, &[]), 2);
    }

    #[test]
    fn a_batch_that_begins_before_the_offset_counts_from_the_offset_on() {
        assert_eq!(counted(&batch(3, 4, -1, 0), 5, 7, &[]), 2);
        let old = [batch(3, 2, -1, 0), batch(5, 1, 7, CONTROL)].concat();
        assert_eq!(counted(&old, 5, 6, &[]), 0);
    }

    #[test]
    fn records_of_an_aborted_transaction_do_not_count_and_those_after_its_end_do() {
        let failed = [batch(5, 2, 7, TRANSACTIONAL), batch(7, 1, 7, CONTROL | TRANSACTIONAL)].concat();
        assert_eq!(counted(&failed, 5, 8, &[(7, 5)]), 0);
        let tried_again = [failed, batch(8, 1, 7, TRANSACTIONAL)].concat();
        assert_eq!(counted(&tried_again, 5, 9, &[(7, 5)]), 1);
    }

    #[test]
    fn what_was_cut_off_counts_by_its_offsets_and_nothing_at_all_holds_none() {
        let cut = [batch(5, 1, 7, CONTROL), batch(6, 1, -1, 0)[..20].to_vec()].concat();
        assert_eq!(counted(&cut, 5, 9, &[]), 3);
        assert_eq!(counted(&[], 5, 5, &[]), 0);
    }

    #[test]
    fn an_answer_that_ends_early_is_asked_on_and_a_full_one_is_not() {
        let early = records_in(&batch(5, 1, -1, 0), 5, 7, &[]);
        assert!(early.goes_on(false) && early.goes_on(true));
        assert_eq!(early.next, 6);
        let nothing = records_in(&[], 5, 7, &[]);
        assert!(nothing.goes_on(false), "there may have been no room");
        assert!(!nothing.goes_on(true), "there is nothing");
        assert!(!records_in(&batch(5, 2, -1, 0), 5, 7, &[]).goes_on(false), "it is at the end");
        assert!(!Read { bytes: PARTITION_BYTES as usize, ..early }.goes_on(false), "a large backlog");
    }

    #[test]
    fn what_lies_behind_the_stable_end_is_nothing_yet() {
        assert_eq!(counted(&batch(5, 3, 7, TRANSACTIONAL), 5, 5, &[]), 0);
    }
}
