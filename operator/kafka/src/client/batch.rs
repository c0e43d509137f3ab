//! Batches of records as Fetch returns them (magic 2, KIP-98): their headers, and the time of a record.

use bytes::Bytes;
use krafka::__private::protocol::RecordBatch;

/// Length of a batch's header as far as it is read.
pub(super) const HEADER: usize = 61;
pub(super) const CONTROL: u16 = 1 << 5;
pub(super) const TRANSACTIONAL: u16 = 1 << 4;
/// The broker's time is every record's (message.timestamp.type).
const LOG_APPEND_TIME: u16 = 1 << 3;
/// The first time is not a record's, but when compaction will remove the tombstones (KIP-534).
const DELETE_HORIZON: u16 = 1 << 6;
/// Where all records of a batch are from one such time, none of them is looked at.
const ALIKE_MS: i64 = 500;
/// Records are unpacked up to this size.
const UNPACKED_BYTES: usize = 4 * 1_024 * 1_024;

/// A batch's header.
pub(super) struct Batch {
    pub(super) base: i64,
    pub(super) last: i64,
    pub(super) length: usize,
    pub(super) producer: i64,
    pub(super) control: bool,
    pub(super) transactional: bool,
    records: i64,
    attributes: u16,
    first_time: i64,
    last_time: i64,
}

impl Batch {
    /// The first batch of `bytes`; none where its header is cut off.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
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
            records: i64::from(i32_at(57)?.max(0)),
            attributes,
            first_time: i64_at(27)?,
            last_time: i64_at(35)?,
        })
    }

    /// Records at or behind an offset: what compaction left, and no more than there are offsets.
    pub(super) fn records_from(&self, from: i64) -> i64 {
        self.records.min(self.last - self.base.max(from) + 1)
    }
}

/// When the first record at or behind `offset` was written, in milliseconds since the Unix epoch; none where nobody said.
/// `bytes` begin with the batch, which may be cut off.
pub(super) fn time_of(batch: &Batch, bytes: &[u8], offset: i64) -> Option<i64> {
    let Batch { first_time, last_time, .. } = *batch;
    let known = |time: i64| Some(time).filter(|time| *time >= 0);
    let alike = batch.attributes & DELETE_HORIZON == 0 && (last_time - first_time).abs() <= ALIKE_MS;
    if batch.attributes & LOG_APPEND_TIME != 0 || alike {
        return known(last_time);
    }
    let whole = bytes.get(..batch.length).map(Bytes::copy_from_slice);
    let unpacked = whole.and_then(|mut whole| RecordBatch::decode_with_limit(&mut whole, UNPACKED_BYTES).ok());
    let found = unpacked.and_then(|unpacked| {
        let record = unpacked.records.iter().find(|record| batch.base + i64::from(record.offset_delta) >= offset)?;
        Some(first_time + record.timestamp_delta)
    });
    known(found.unwrap_or(last_time))
}

#[cfg(test)]
mod tests {
    use krafka::__private::protocol::{Compression, Record};

    use super::*;

    /// A batch from offset 10 on, with a record for each time.
    fn written(times: &[i64], compression: Compression) -> Vec<u8> {
        let mut batch = RecordBatch::new();
        batch.base_offset = 10;
        batch.base_timestamp = times[0];
        batch.max_timestamp = *times.iter().max().unwrap();
        batch.last_offset_delta = times.len() as i32 - 1;
        batch.attributes.compression = compression;
        for (delta, time) in (0..).zip(times) {
            let record = Record::new(None, Some(Bytes::from_static(b"value")));
            batch.add_record(record.with_offset_delta(delta).with_timestamp_delta(time - times[0]));
        }
        batch.encode().unwrap().to_vec()
    }

    fn time_at(bytes: &[u8], offset: i64) -> Option<i64> {
        time_of(&Batch::read(bytes).unwrap(), bytes, offset)
    }

    #[test]
    fn a_record_has_its_own_time_wherever_it_stands_in_the_batch() {
        for compression in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy] {
            let bytes = written(&[5_000, 9_000, 7_000], compression);
            assert_eq!([10, 11, 12].map(|offset| time_at(&bytes, offset)), [5_000, 9_000, 7_000].map(Some));
        }
    }

    #[test]
    fn of_a_batch_that_is_cut_off_the_last_time_has_to_do() {
        let bytes = written(&[5_000, 9_000], Compression::None);
        assert_eq!(time_at(&bytes[..bytes.len() - 1], 10), Some(9_000));
    }

    #[test]
    fn times_that_nobody_gave_are_unknown_and_the_brokers_time_is_all_records() {
        assert_eq!(time_at(&written(&[-1, -1], Compression::None), 10), None);
        let mut bytes = written(&[5_000, 9_000], Compression::None);
        bytes[22] |= LOG_APPEND_TIME as u8;
        assert_eq!(time_at(&bytes, 10), Some(9_000));
    }
}
