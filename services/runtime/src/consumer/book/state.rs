//! How far a retry partition is, as a short text: it rides in the metadata of the source partition's offset, of which brokers take
//! 4096 bytes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// Bytes before base64; brokers take 4096 of it.
const MOST_BYTES: usize = 3000;
/// The first character, should there be another way some day.
const VERSION: char = '1';

/// How far a retry partition is: below `end` everything is finished but what is listed, from `end` on nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct RetryState {
    pub(in super::super) end: i64,
    /// By offset in the retry partition, how often each was tried there.
    pub(in super::super) unfinished: BTreeMap<i64, u32>,
}

impl RetryState {
    /// The first offset that is not finished.
    pub(in super::super) fn low(&self) -> i64 {
        self.unfinished.first_key_value().map_or(self.end, |(offset, _)| *offset)
    }

    /// Whether a record at that offset is finished.
    #[cfg(test)]
    pub(in super::super) fn is_finished(&self, offset: i64) -> bool {
        offset < self.end && !self.unfinished.contains_key(&offset)
    }

    /// The text. What does not fit is left out in a way that loses nothing: tries first, then `end` comes nearer, so that records
    /// above are thought to be unfinished.
    pub(in super::super) fn encode(&self) -> String {
        if self.end == 0 {
            return String::new();
        }
        let mut bytes = Vec::new();
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for offset in self.unfinished.keys() {
            match runs.last_mut() {
                Some((first, length)) if *first + *length == *offset => *length += 1,
                _ => runs.push((*offset, 1)),
            }
        }
        let mut coded = Vec::new();
        let (mut end, mut at, mut fit) = (self.end, 0, 0);
        for (first, length) in &runs {
            let before = coded.len();
            put(&mut coded, first - at);
            put(&mut coded, *length);
            // The end and the number of runs take at most 14.
            if coded.len() + 14 > MOST_BYTES {
                coded.truncate(before);
                end = *first;
                break;
            }
            (at, fit) = (first + length, fit + 1);
        }
        put(&mut bytes, end);
        put(&mut bytes, fit);
        bytes.append(&mut coded);
        for (index, (_, tries)) in self.unfinished.range(..end).enumerate().filter(|(_, (_, tries))| **tries > 0) {
            let before = bytes.len();
            put(&mut bytes, index as i64);
            put(&mut bytes, i64::from(*tries));
            if bytes.len() > MOST_BYTES {
                bytes.truncate(before);
                break;
            }
        }
        format!("{VERSION}{}", STANDARD_NO_PAD.encode(bytes))
    }

    /// Reads the text; none if it is not one.
    pub(in super::super) fn decode(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text.strip_prefix(VERSION)?).ok()?;
        let mut rest = bytes.as_slice();
        let end = get(&mut rest)?;
        let runs = get(&mut rest)?;
        let mut state = Self { end, unfinished: BTreeMap::new() };
        let mut at = 0_i64;
        for _ in 0..runs {
            let first = at.checked_add(get(&mut rest)?)?;
            let length = get(&mut rest)?;
            at = first.checked_add(length)?;
            if at > end || length > MOST_BYTES as i64 * 8 {
                return None;
            }
            state.unfinished.extend((first..at).map(|offset| (offset, 0)));
        }
        let offsets: Vec<_> = state.unfinished.keys().copied().collect();
        while !rest.is_empty() {
            let offset = offsets.get(usize::try_from(get(&mut rest)?).ok()?)?;
            state.unfinished.insert(*offset, u32::try_from(get(&mut rest)?).ok()?);
        }
        Some(state)
    }
}

/// A number that is not negative, seven bits a byte, the lowest first (LEB128).
fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut left = number.unsigned_abs();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn get(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states(most: usize, gap: i64) -> impl Strategy<Value = RetryState> {
        (prop::collection::vec((1..gap, 0_u32..20), 0..most), 0..1000_i64, 1..1_000_000_000_000_i64).prop_map(
            |(gaps, behind, start)| {
                let mut at = start;
                let unfinished: BTreeMap<_, _> = gaps
                    .into_iter()
                    .map(|(gap, tries)| {
                        at += gap;
                        (at, tries)
                    })
                    .collect();
                RetryState { end: at + 1 + behind, unfinished }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(state in states(400, 300)) {
            prop_assert_eq!(RetryState::decode(&state.encode()), Some(state));
        }

        /// Brokers refuse longer metadata; a shorter text may forget tries, and take finished for unfinished, never the reverse.
        #[test]
        fn it_always_fits_and_never_takes_unfinished_for_finished(state in states(5000, 100_000)) {
            let text = state.encode();
            prop_assert!(text.len() <= 4096);
            let read = RetryState::decode(&text).unwrap();
            prop_assert!(read.end <= state.end);
            for offset in state.unfinished.keys() {
                prop_assert!(!read.is_finished(*offset));
            }
        }

        /// As many as may be parked by default, with a gap here and there, are kept exactly.
        #[test]
        fn a_thousand_are_kept_exactly(state in states(1000, 60)) {
            let read = RetryState::decode(&state.encode()).unwrap();
            prop_assert_eq!(read.end, state.end);
            prop_assert!(read.unfinished.keys().eq(state.unfinished.keys()));
        }

        #[test]
        fn what_is_no_state_is_none_and_no_panic(text in ".{0,40}") {
            let _ = RetryState::decode(&text);
            let _ = RetryState::decode(&format!("1{text}"));
        }
    }

    #[test]
    fn nothing_ever_parked_is_no_text() {
        assert_eq!(RetryState::default().encode(), "");
        assert_eq!(RetryState::decode(""), None);
    }
}
