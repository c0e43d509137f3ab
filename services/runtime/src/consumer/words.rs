//! Records of retry and dead-letter topics: what is written for an entry of the book, and what is understood when it is read.

use tidegate_contracts::headers;

use super::{
    Outgoing, Record,
    book::{Entry, What, Word},
};

/// The headers that are added to those of the record, behind them.
const ADDED: [&str; 9] = [
    headers::GROUP,
    headers::ORIGIN_TOPIC,
    headers::ORIGIN_PARTITION,
    headers::ORIGIN_OFFSET,
    headers::ORIGIN_TIMESTAMP,
    headers::ERROR_CLASS,
    headers::ERROR,
    headers::ATTEMPTS,
    headers::CONTROL,
];

const QUARANTINE: &str = "quarantine";
const REDRIVE: &str = "redrive";
const SKIP: &str = "skip";

/// Characters of an error that a dead letter carries.
const ERROR_CHARS: usize = 1000;

/// Whose words they are.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) retry_topic: Option<String>,
    pub(super) dead_letter_topic: Option<String>,
}

/// Why a record of the retry partition is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAWord {
    #[error("it has no header {0} that can be read")]
    Header(&'static str),
    #[error("it is of group {group}, {topic}/{partition}")]
    Foreign { group: String, topic: String, partition: i32 },
    #[error("its control header is {0:?}")]
    Control(String),
    #[error("it quarantines no key")]
    NoKey,
}

impl Words {
    /// The records that an entry becomes: one, or, where a key is quarantined, two.
    pub(super) fn outgoing(&self, entry: &Entry) -> Vec<Outgoing> {
        let record = &entry.record;
        let attempts = (headers::ATTEMPTS, entry.attempts.to_string());
        let of = |topic: &str, partition, mut added: Vec<(&str, String)>| {
            let mut all = record.headers.clone();
            added.splice(0..0, self.origin(record));
            all.extend(added.into_iter().map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
            Outgoing {
                topic: topic.to_owned(),
                partition,
                key: record.key.clone(),
                value: record.value.clone(),
                headers: all,
            }
        };
        let retry = self.retry_topic.as_deref().unwrap_or_default();
        match &entry.what {
            What::Park => vec![of(retry, Some(self.partition), vec![attempts])],
            What::Die { class, error, quarantine } => {
                let error = error.chars().take(ERROR_CHARS).collect();
                let dead = self.dead_letter_topic.as_deref().unwrap_or_default();
                let why = vec![(headers::ERROR_CLASS, class.name().to_owned()), (headers::ERROR, error), attempts];
                let mut written = vec![of(dead, None, why)];
                if *quarantine {
                    let mut word = self.origin(record);
                    word.push((headers::CONTROL, QUARANTINE.to_owned()));
                    written.push(Outgoing {
                        topic: retry.to_owned(),
                        partition: Some(self.partition),
                        key: record.key.clone(),
                        value: None,
                        headers: word.into_iter().map(|(name, value)| (name.to_owned(), Some(value.into()))).collect(),
                    });
                }
                written
            }
        }
    }

    fn origin(&self, record: &Record) -> Vec<(&'static str, String)> {
        let mut origin = vec![
            (headers::GROUP, self.group.clone()),
            (headers::ORIGIN_TOPIC, self.topic.clone()),
            (headers::ORIGIN_PARTITION, self.partition.to_string()),
            (headers::ORIGIN_OFFSET, record.offset.to_string()),
        ];
        origin.extend(record.timestamp.map(|ms| (headers::ORIGIN_TIMESTAMP, ms.to_string())));
        origin
    }

    /// What a record of the retry partition says.
    pub(super) fn read(&self, mut record: Record) -> Result<Word, NotAWord> {
        let text = |name| record.header(name).ok_or(NotAWord::Header(name));
        let (group, topic) = (text(headers::GROUP)?.to_owned(), text(headers::ORIGIN_TOPIC)?.to_owned());
        let partition =
            text(headers::ORIGIN_PARTITION)?.parse::<i32>().map_err(|_| NotAWord::Header(headers::ORIGIN_PARTITION))?;
        if (&group, &topic, partition) != (&self.group, &self.topic, self.partition) {
            return Err(NotAWord::Foreign { group, topic, partition });
        }
        let origin = text(headers::ORIGIN_OFFSET)?
            .parse::<i64>()
            .ok()
            .filter(|offset| *offset >= 0)
            .ok_or(NotAWord::Header(headers::ORIGIN_OFFSET))?;
        let timestamp = record.header(headers::ORIGIN_TIMESTAMP).and_then(|ms| ms.parse().ok());
        let attempts = record.header(headers::ATTEMPTS).and_then(|attempts| attempts.parse().ok());
        let control = record.header(headers::CONTROL).map(str::to_owned);
        record.offset = origin;
        record.topic = self.topic.as_str().into();
        record.timestamp = timestamp;
        match control.as_deref() {
            None => {
                strip(&mut record);
                Ok(Word::Parked { record, attempts: attempts.unwrap_or_default() })
            }
            Some(QUARANTINE) => Ok(Word::Quarantine { key: record.key.ok_or(NotAWord::NoKey)?, origin }),
            Some(REDRIVE) => {
                strip(&mut record);
                Ok(Word::Redrive { record })
            }
            Some(SKIP) => Ok(Word::Skip { key: record.key, origin }),
            Some(other) => Err(NotAWord::Control(other.chars().take(40).collect())),
        }
    }
}

/// Takes off what was added: of each name the last, since the record may have come with such headers itself.
fn strip(record: &mut Record) {
    for name in ADDED {
        if let Some(index) = record.headers.iter().rposition(|(header, _)| header == name) {
            record.headers.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::book::{Class, Place};

    fn words() -> Words {
        Words {
            group: "g".into(),
            topic: "t".into(),
            partition: 3,
            retry_topic: Some("g.t.retry".into()),
            dead_letter_topic: Some("dead".into()),
        }
    }

    fn record() -> Record {
        Record {
            topic: "t".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(1_700_000_000_000),
            key: Some(vec![0xff, 0]),
            value: Some(vec![0xfe, 1]),
            // One that was a dead letter of somebody else before.
            headers: vec![
                ("a".into(), None),
                (headers::GROUP.into(), Some(b"other".to_vec())),
                ("a".into(), Some(vec![0xff])),
            ],
        }
    }

    fn entry(what: What) -> Entry {
        Entry::new(record(), Place::Source, 2, what)
    }

    /// As it is read back from the retry partition.
    fn read_back(outgoing: Outgoing) -> Record {
        assert_eq!((outgoing.topic.as_str(), outgoing.partition), ("g.t.retry", Some(3)));
        let Outgoing { topic, key, value, headers, .. } = outgoing;
        Record { topic: topic.into(), partition: 3, offset: 7, timestamp: Some(5), key, value, headers }
    }

    #[test]
    fn what_is_parked_comes_back_as_it_was() {
        let mut written = words().outgoing(&entry(What::Park));
        assert_eq!(written.len(), 1);
        let read = words().read(read_back(written.remove(0))).unwrap();
        assert_eq!(read, Word::Parked { record: record(), attempts: 2 });
    }

    #[test]
    fn a_dead_letter_carries_the_record_untouched_and_why_it_died() {
        let error = "x".repeat(2000);
        let what = What::Die { class: Class::Poison, error, quarantine: true };
        let mut written = words().outgoing(&entry(what));
        assert_eq!(written.len(), 2);
        let dead = written.remove(0);
        assert_eq!((dead.topic.as_str(), dead.partition), ("dead", None));
        assert_eq!((dead.key, dead.value), (record().key, record().value));
        assert_eq!(dead.headers[..3], record().headers);
        let added: Vec<_> = dead.headers[3..]
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8(value.clone().unwrap()).unwrap()))
            .collect();
        let expected = [
            ("tidegate-group", "g".to_owned()),
            ("tidegate-origin-topic", "t".to_owned()),
            ("tidegate-origin-partition", "3".to_owned()),
            ("tidegate-origin-offset", "42".to_owned()),
            ("tidegate-origin-timestamp", "1700000000000".to_owned()),
            ("tidegate-error-class", "Poison".to_owned()),
            ("tidegate-error", "x".repeat(1000)),
            ("tidegate-attempts", "2".to_owned()),
        ];
        assert_eq!(added, expected);
        let read = words().read(read_back(written.remove(0))).unwrap();
        assert_eq!(read, Word::Quarantine { key: vec![0xff, 0], origin: 42 });
    }

    #[test]
    fn a_dead_letter_that_is_sent_again_is_the_record_that_it_was() {
        let what = What::Die { class: Class::Retry, error: "no".into(), quarantine: true };
        let mut dead = words().outgoing(&entry(what)).remove(0);
        dead.headers.push((headers::CONTROL.into(), Some(b"redrive".to_vec())));
        (dead.topic, dead.partition) = ("g.t.retry".into(), Some(3));
        assert_eq!(words().read(read_back(dead)).unwrap(), Word::Redrive { record: record() });
    }

    #[test]
    fn what_others_write_is_not_understood() {
        let written = || read_back(words().outgoing(&entry(What::Park)).remove(0));
        let other = Words { group: "other".into(), ..words() };
        assert!(matches!(other.read(written()), Err(NotAWord::Foreign { .. })));
        let mut control = written();
        control.headers.push((headers::CONTROL.into(), Some(b"dance".to_vec())));
        assert_eq!(words().read(control), Err(NotAWord::Control("dance".into())));
        assert_eq!(words().read(record()), Err(NotAWord::Header(headers::ORIGIN_TOPIC)));
        let mut negative = written();
        negative.headers.push((headers::ORIGIN_OFFSET.into(), Some(b"-1".to_vec())));
        assert_eq!(words().read(negative), Err(NotAWord::Header(headers::ORIGIN_OFFSET)));
    }

    /// Those who write words, and do not know the contracts, write what is read here.
    #[test]
    fn the_headers_that_an_operator_writes_are_those_that_are_read() {
        use tidegate_settings::failure::headers as written;
        let pairs = [
            (written::GROUP, headers::GROUP),
            (written::ORIGIN_TOPIC, headers::ORIGIN_TOPIC),
            (written::ORIGIN_PARTITION, headers::ORIGIN_PARTITION),
            (written::ORIGIN_OFFSET, headers::ORIGIN_OFFSET),
            (written::ERROR_CLASS, headers::ERROR_CLASS),
            (written::CONTROL, headers::CONTROL),
            (written::REDRIVE, REDRIVE),
        ];
        for (written, read) in pairs {
            assert_eq!(written, read);
        }
    }
}
