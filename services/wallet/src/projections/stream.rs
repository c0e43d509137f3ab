//! Which events of a batch are news: the rule of versioned streams. seen + 1 is applied, what was seen is dropped, and anything
//! higher is a gap, behind which nothing may be applied.

use std::collections::{BTreeMap, HashMap};

use tidegate_contracts::Envelope;

/// A stream of which an event is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wallet {stream} has been seen up to version {seen}; version {found} has come, but not {}", .seen + 1)]
pub struct Gap {
    /// The stream.
    pub stream: String,
    /// The version up to which it was applied.
    pub seen: i64,
    /// The version that came.
    pub found: i64,
}

/// The events to apply, in the order in which they came, given the version up to which each stream was applied before.
pub fn news<'a, E>(seen: &HashMap<String, i64>, events: &'a [Envelope<E>]) -> Result<Vec<&'a Envelope<E>>, Gap> {
    let mut here: HashMap<&str, i64> = HashMap::new();
    let mut news = Vec::with_capacity(events.len());
    for event in events {
        let stream = event.aggregate_id.as_str();
        let last = here.entry(stream).or_insert_with(|| seen.get(stream).copied().unwrap_or(0));
        if event.aggregate_version <= *last {
            continue;
        }
        if event.aggregate_version != *last + 1 {
            return Err(Gap { stream: stream.to_owned(), seen: *last, found: event.aggregate_version });
        }
        *last = event.aggregate_version;
        news.push(event);
    }
    Ok(news)
}

/// Where the events lead each stream, in the order of the streams' names: the order in which rows are locked.
pub fn watermarks<'a, E>(news: &[&'a Envelope<E>]) -> BTreeMap<&'a str, i64> {
    news.iter().map(|event| (event.aggregate_id.as_str(), event.aggregate_version)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn event(stream: &str, version: i64) -> Envelope<()> {
        Envelope {
            event_id: Uuid::nil(),
            aggregate_id: stream.to_owned(),
            aggregate_version: version,
            timestamp: Timestamp::UNIX_EPOCH,
            correlation_id: Uuid::nil(),
            causation_id: None,
            event: (),
        }
    }

    fn seen(streams: &[(&str, i64)]) -> HashMap<String, i64> {
        streams.iter().map(|(stream, version)| ((*stream).to_owned(), *version)).collect()
    }

    #[test]
    fn what_was_seen_is_dropped_and_the_next_is_applied() {
        let events = [event("a", 2), event("a", 3), event("b", 1), event("a", 3), event("b", 2)];
        let news = news(&seen(&[("a", 2)]), &events).unwrap();
        let names: Vec<_> = news.iter().map(|event| (event.aggregate_id.as_str(), event.aggregate_version)).collect();
        assert_eq!(names, [("a", 3), ("b", 1), ("b", 2)]);
        assert_eq!(watermarks(&news), BTreeMap::from([("a", 3), ("b", 2)]));
    }

    #[test]
    fn a_gap_is_an_error_that_says_what_is_missing() {
        let gap = news(&seen(&[("a", 2)]), &[event("a", 4)]).unwrap_err();
        assert_eq!(gap.to_string(), "wallet a has been seen up to version 2; version 4 has come, but not 3");
        assert!(news(&seen(&[]), &[event("b", 2)]).is_err(), "a stream begins at 1");
    }

    proptest! {
        /// However often a log is delivered again, and from wherever: each event is news once, in order.
        #[test]
        fn each_event_is_news_once(length in 1_i64..30, restarts in prop::collection::vec((0_i64..30, 1_i64..30), 0..10)) {
            let mut seen = HashMap::new();
            let mut applied = Vec::new();
            for (from, count) in restarts.into_iter().chain([(0, length)]) {
                // A consumer never starts behind what it has committed.
                let from = from.min(seen.get("a").copied().unwrap_or(0));
                let events: Vec<_> = (from + 1..=(from + count).min(length)).map(|version| event("a", version)).collect();
                let news = news(&seen, &events).unwrap();
                applied.extend(news.iter().map(|event| event.aggregate_version));
                seen.extend(watermarks(&news).into_iter().map(|(stream, version)| (stream.to_owned(), version)));
            }
            prop_assert_eq!(applied, (1..=length).collect::<Vec<_>>());
        }
    }
}
