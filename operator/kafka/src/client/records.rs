//! Reads records, as a read_committed consumer gets them.

use std::collections::BTreeSet;

use super::{
    call::Call,
    convert,
    fetch::{Wanted, fetch},
    leaders::Answers,
};
use crate::{LoggedRecord, Portion};
use krafka::{__private::protocol::RecordBatch, Result as KrafkaResult};

/// Bytes of one partition; a broker returns at least one batch, however large.
const PARTITION_BYTES: i32 = 512 * 1_024;

pub(super) async fn read(call: &Call, wanted: &Wanted) -> Answers<Portion> {
    fetch(call, wanted, PARTITION_BYTES, |found, from| {
        let aborted = found.aborted_transactions.iter().map(|one| (one.first_offset, one.producer_id)).collect();
        portion(batches(found.records.unwrap_or_default())?, from, found.last_stable_offset, aborted)
    })
    .await
}

/// The whole batches of an answer, the last of which may be cut off.
fn batches(mut bytes: bytes::Bytes) -> KrafkaResult<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    while let Some(length) = bytes.get(8..12).and_then(|length| Some(i32::from_be_bytes(length.try_into().ok()?))) {
        if usize::try_from(length).is_ok_and(|length| length + 12 > bytes.len()) {
            break;
        }
        batches.push(RecordBatch::decode(&mut bytes)?);
    }
    Ok(batches)
}

/// What a read_committed consumer gets of `batches`, read from `from`. `aborted`: first offset and producer of aborted transactions.
fn portion(batches: Vec<RecordBatch>, from: i64, end: i64, aborted: BTreeSet<(i64, i64)>) -> KrafkaResult<Portion> {
    let mut portion = Portion { records: Vec::new(), next: from, end };
    let (mut to_come, mut aborting) = (aborted.into_iter().peekable(), BTreeSet::new());
    for batch in batches {
        if batch.base_offset >= end {
            break;
        }
        while let Some((_, producer)) = to_come.next_if(|(first, _)| *first <= batch.base_offset) {
            aborting.insert(producer);
        }
        let last = batch.base_offset + i64::from(batch.last_offset_delta);
        portion.next = portion.next.max(last + 1);
        if batch.attributes.is_control_batch {
            aborting.remove(&batch.producer_id);
            continue;
        }
        if batch.attributes.is_transactional && aborting.contains(&batch.producer_id) {
            continue;
        }
        let (base, time) = (batch.base_offset, batch.base_timestamp);
        for record in batch.records {
            let offset = base.checked_add(i64::from(record.offset_delta)).ok_or_else(convert::missing)?;
            if offset < from {
                continue;
            }
            let owned = |bytes: bytes::Bytes| bytes.to_vec();
            portion.records.push(LoggedRecord {
                offset,
                timestamp: time.saturating_add(record.timestamp_delta),
                key: record.key.map(owned),
                value: record.value.map(owned),
                headers: record
                    .headers
                    .into_iter()
                    .map(|header| (String::from_utf8_lossy(&header.key).into_owned(), header.value.map(owned)))
                    .collect(),
            });
        }
    }
    Ok(portion)
}

#[cfg(test)]
mod tests {
    use krafka::__private::protocol::{Record, RecordBatchAttributes};

    use super::*;

    fn batch(base: i64, values: &[&'static str], producer: i64, control: bool) -> RecordBatch {
        let mut batch = RecordBatch::new();
        batch.base_offset = base;
        batch.producer_id = producer;
        batch.attributes =
            RecordBatchAttributes { is_transactional: producer >= 0, is_control_batch: control, ..Default::default() };
        for (delta, value) in values.iter().enumerate() {
            let mut record = Record::new(None, Some(bytes::Bytes::from_static(value.as_bytes())));
            record.offset_delta = delta as i32;
            batch.records.push(record);
        }
        batch.last_offset_delta = values.len() as i32 - 1;
        batch
    }

    fn read(batches: Vec<RecordBatch>, from: i64, end: i64, aborted: &[(i64, i64)]) -> (Vec<String>, i64) {
        let portion = portion(batches, from, end, aborted.iter().copied().collect()).unwrap();
        let text = |record: LoggedRecord| String::from_utf8(record.value.unwrap_or_default()).unwrap();
        (portion.records.into_iter().map(text).collect(), portion.next)
    }

    #[test]
    fn markers_and_aborted_records_are_passed_over_and_what_is_before_the_offset_too() {
        let log = || {
            vec![
                batch(3, &["a", "b", "c"], -1, false),
                batch(6, &["lost"], 7, false),
                batch(7, &["kept"], 8, false),
                batch(8, &["marker"], 7, true),
                batch(9, &["again"], 7, false),
                batch(10, &["marker"], 7, true),
            ]
        };
        let all = ["c", "kept", "again"].map(str::to_owned).to_vec();
        assert_eq!(read(log(), 5, 11, &[(6, 7)]), (all, 11));
        // Two of one producer, both aborted.
        assert_eq!(read(log(), 5, 11, &[(6, 7), (9, 7)]), (vec!["c".to_owned(), "kept".to_owned()], 11));
    }

    #[test]
    fn what_is_behind_the_stable_end_is_nothing_yet() {
        assert_eq!(
            read(vec![batch(5, &["a"], -1, false), batch(6, &["open"], 7, false)], 5, 6, &[]),
            (vec!["a".into()], 6)
        );
    }
}
