//! What a read_committed consumer would find in a partition: how many records are left, and the first of them with its time. A Fetch or a
//! few, of which only the batches' headers are looked at, and the records of the first batch where its header does not tell their times.
//!
//! Offsets count what no consumer ever sees: the markers that end transactions, the records of aborted ones (KIP-98), and those that
//! compaction removed.

use std::collections::BTreeSet;

use super::{
    batch::{Batch, time_of},
    call::Call,
    fetch::{Wanted, fetch},
    leaders::Answers,
};
use crate::{ListedOffset, Readable};

/// Bytes of one partition. A larger batch is left out, unless its partition is the first of the request.
const PARTITION_BYTES: i32 = 16 * 1_024;
/// How often it is asked on. A broker may end an answer before the stable end that the same answer names, and had no room for some.
const ROUNDS: usize = 4;

/// What one answer said of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    /// Records that a read_committed consumer gets.
    found: i64,
    /// The first of them.
    first: Option<ListedOffset>,
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

pub(super) async fn records(call: &Call, wanted: &Wanted) -> Answers<Readable> {
    let mut answers: Answers<Readable> = Answers::new();
    let mut wanted = wanted.clone();
    for round in 0..ROUNDS {
        let mut on = Wanted::new();
        for (key, read) in look(call, &wanted).await {
            let answer = read.map(|read| {
                let first = read.first;
                if round + 1 < ROUNDS && read.goes_on(round > 0) {
                    on.insert(key.clone(), read.next);
                    return Readable { records: read.found, first };
                }
                // A large backlog counts by its offsets; where nothing at all was there, nothing is.
                Readable { records: read.found + if read.bytes > 0 { read.rest() } else { 0 }, first }
            });
            let before = answers.remove(&key).unwrap_or(Ok(Readable::default()));
            let both = before.and_then(|before| {
                let add = |more: Readable| Readable {
                    records: before.records + more.records,
                    first: before.first.or(more.first),
                };
                answer.map(add)
            });
            answers.insert(key, both);
        }
        if on.is_empty() {
            break;
        }
        wanted = on;
    }
    answers
}

async fn look(call: &Call, wanted: &Wanted) -> Answers<Read> {
    fetch(call, wanted, PARTITION_BYTES, |found, from| {
        let bytes = found.records.as_deref().unwrap_or_default();
        let transactions = found.aborted_transactions.iter();
        let aborted: Vec<Aborted> = transactions.map(|one| (one.producer_id, one.first_offset)).collect();
        Ok(records_in(bytes, from, found.last_stable_offset, &aborted))
    })
    .await
}

/// An aborted transaction: its producer, its first offset.
type Aborted = (i64, i64);

/// Records in `bytes`, read from `from`, that a read_committed consumer gets.
fn records_in(bytes: &[u8], from: i64, stable: i64, aborted: &[Aborted]) -> Read {
    let (mut found, mut first) = (0, None);
    let mut ended: BTreeSet<i64> = BTreeSet::new();
    let mut next = from;
    let mut rest = bytes;
    while let Some(batch) = Batch::read(rest) {
        let this = rest;
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
            let records = batch.records_from(from);
            if first.is_none() && records > 0 {
                let offset = batch.base.max(from);
                first = Some(ListedOffset { offset, timestamp: time_of(&batch, this, offset) });
            }
            found += records;
        }
        next = batch.last + 1;
    }
    Read { found, first, next, stable, bytes: bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::batch::{CONTROL, HEADER, TRANSACTIONAL},
        *,
    };

    /// A batch of `count` records from `base`, without the records.
    fn batch(base: i64, count: i32, producer: i64, attributes: u16) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0..8].copy_from_slice(&base.to_be_bytes());
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&1_000_i64.to_be_bytes());
        bytes[35..43].copy_from_slice(&1_000_i64.to_be_bytes());
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
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
    fn what_compaction_removed_is_nothing_to_read() {
        let mut thinned = batch(5, 10, -1, 0);
        thinned[57..61].copy_from_slice(&3_i32.to_be_bytes());
        assert_eq!(counted(&thinned, 5, 15, &[]), 3);
        assert_eq!(counted(&thinned, 13, 15, &[]), 2, "no more than there are offsets");
        let gap = [batch(5, 1, -1, 0), batch(90, 1, -1, 0)].concat();
        assert_eq!(counted(&gap, 5, 91, &[]), 2);
        let mut emptied = batch(5, 10, -1, 0);
        emptied[57..61].copy_from_slice(&0_i32.to_be_bytes());
        assert_eq!(
            records_in(&emptied, 5, 15, &[]),
            Read { found: 0, first: None, next: 15, stable: 15, bytes: HEADER }
        );
    }

    #[test]
    fn the_first_record_is_the_first_that_can_be_read() {
        let first = |bytes: &[u8], from, stable, aborted: &[Aborted]| records_in(bytes, from, stable, aborted).first;
        let marker = batch(5, 1, 7, CONTROL | TRANSACTIONAL);
        assert_eq!(first(&marker, 5, 6, &[]), None);
        let behind = [marker, batch(6, 2, 7, TRANSACTIONAL)].concat();
        assert_eq!(first(&behind, 5, 8, &[]), Some(ListedOffset { offset: 6, timestamp: Some(1_000) }));
        assert_eq!(first(&behind, 7, 8, &[]), Some(ListedOffset { offset: 7, timestamp: Some(1_000) }));
        assert_eq!(first(&batch(5, 2, 7, TRANSACTIONAL), 5, 7, &[(7, 5)]), None, "aborted");
    }

    #[test]
    fn what_lies_behind_the_stable_end_is_nothing_yet() {
        assert_eq!(counted(&batch(5, 3, 7, TRANSACTIONAL), 5, 5, &[]), 0);
    }
}
