//! Which dead letters are redriven, and what is written for them. Pure.

use std::collections::BTreeMap;

use tidegate_crds::pipeline::{RedrivePhase, RedriveStatus};
use tidegate_kafka::{CommittedOffset, LoggedRecord, Outgoing, Portion, TopicPartition};
use tidegate_settings::failure::headers;

/// Words in one transaction.
const TOGETHER: usize = 500;

/// What is wanted of a dead-letter topic.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The group that gave the records up; a topic may be shared.
    pub group: &'a str,
    /// By the topic that they came from: the retry topic, and its partitions.
    pub retries: BTreeMap<&'a str, (String, i32)>,
    /// Their error class; none: any.
    pub error_class: Option<&'a str>,
    /// Redrives before this one.
    pub earlier: Vec<&'a RedriveStatus>,
}

/// How far a redrive is in a partition, and what it has come across. Kept with the group's offset, in the transaction that writes the
/// words: it is exact whoever dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The first offset that it has not looked at.
    pub next: i64,
    /// Dead letters that it has redriven.
    pub moved: i64,
    /// Dead letters of the group that it has passed over.
    pub skipped: i64,
}

/// What one transaction writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Words for retry topics.
    pub words: Outgoing,
    /// Where the redrive is after them.
    pub positions: BTreeMap<TopicPartition, Position>,
}

impl Position {
    /// As it is committed.
    pub fn commit(self) -> CommittedOffset {
        CommittedOffset { offset: self.next, metadata: format!("{} {}", self.moved, self.skipped) }
    }

    /// As it was committed. Somebody who has moved the offset by hand has not counted.
    pub fn read(commit: &CommittedOffset) -> Self {
        let mut counts = commit.metadata.split(' ').map(|count| count.parse().unwrap_or_default());
        let (moved, skipped) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
        Self { next: commit.offset, moved, skipped }
    }
}

enum Verdict {
    /// It goes into that partition.
    Word(TopicPartition),
    Skipped,
    /// It is another group's.
    Foreign,
}

impl Wanted<'_> {
    fn verdict(&self, at: &TopicPartition, letter: &LoggedRecord) -> Verdict {
        if letter.header(headers::GROUP) != Some(self.group) {
            return Verdict::Foreign;
        }
        let class = letter.header(headers::ERROR_CLASS);
        let matches = self.error_class.is_none() || self.error_class == class;
        let redriven = redriven(&self.earlier, at, letter).is_some();
        let into = letter.header(headers::ORIGIN_TOPIC).and_then(|topic| self.retries.get(topic));
        let partition = letter.header(headers::ORIGIN_PARTITION).and_then(|partition| partition.parse::<i32>().ok());
        match (into, partition) {
            (Some((topic, partitions)), Some(partition))
                if matches && !redriven && (0..*partitions).contains(&partition) =>
            {
                Verdict::Word(TopicPartition::new(topic, partition))
            }
            _ => Verdict::Skipped,
        }
    }
}

/// The next transaction. `portions`: of the dead-letter topic, from the positions on; `until`: where it ended when the redrive began;
/// `room`: dead letters that may still be redriven.
pub fn batch(
    wanted: &Wanted<'_>,
    portions: BTreeMap<TopicPartition, Portion>,
    positions: &BTreeMap<TopicPartition, Position>,
    until: &BTreeMap<TopicPartition, i64>,
    room: i64,
) -> Batch {
    let room = usize::try_from(room).unwrap_or(0).min(TOGETHER);
    let mut batch = Batch::default();
    for (key, portion) in portions {
        let end = until.get(&key).copied().unwrap_or_default();
        let mut position = positions.get(&key).copied().unwrap_or_default();
        let mut next = portion.next.min(end);
        for letter in portion.records.into_iter().filter(|letter| letter.offset < end) {
            let verdict = wanted.verdict(&key, &letter);
            match verdict {
                Verdict::Word(_) if batch.words.len() >= room => {
                    next = letter.offset;
                    break;
                }
                Verdict::Word(into) => {
                    position.moved += 1;
                    batch.words.push((into, word(letter)));
                }
                Verdict::Skipped => position.skipped += 1,
                Verdict::Foreign => {}
            }
        }
        position.next = next.max(position.next);
        batch.positions.insert(key, position);
    }
    batch
}

/// The dead letter again, as a word to the reader of the retry topic.
fn word(mut letter: LoggedRecord) -> LoggedRecord {
    letter.headers.push((headers::CONTROL.to_owned(), Some(headers::REDRIVE.as_bytes().to_vec())));
    letter
}

/// The redrive that has passed a dead letter of its class by; if it could go anywhere, it was redriven then.
pub fn redriven<'a>(
    earlier: &[&'a RedriveStatus],
    at: &TopicPartition,
    letter: &LoggedRecord,
) -> Option<&'a RedriveStatus> {
    let class = letter.header(headers::ERROR_CLASS);
    let passed = |redrive: &&&RedriveStatus| {
        let wanted = redrive.error_class.as_deref();
        let next = redrive.next.get(&at.topic).and_then(|offsets| offsets.get(&at.partition.to_string()));
        (wanted.is_none() || wanted == class) && next.is_some_and(|next| letter.offset < *next)
    };
    earlier.iter().find(passed).copied()
}

/// Redrives that have looked at dead letters.
pub fn earlier<'a>(records: &[&'a RedriveStatus], id: &str) -> Vec<&'a RedriveStatus> {
    let looked = |record: &&&RedriveStatus| {
        record.id != id && matches!(record.phase, RedrivePhase::Done | RedrivePhase::Cancelled | RedrivePhase::Running)
    };
    records.iter().filter(looked).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, group: &str, class: &str, origin: (&str, &str)) -> LoggedRecord {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        LoggedRecord {
            offset,
            key: Some(vec![offset as u8]),
            headers: vec![
                header(headers::GROUP, group),
                header(headers::ORIGIN_TOPIC, origin.0),
                header(headers::ORIGIN_PARTITION, origin.1),
                header(headers::ERROR_CLASS, class),
            ],
            ..LoggedRecord::default()
        }
    }

    fn dead(partition: i32) -> TopicPartition {
        TopicPartition::new("dead", partition)
    }

    fn wanted(class: Option<&'static str>) -> Wanted<'static> {
        Wanted {
            group: "g",
            retries: [("t", ("g.t.retry".to_owned(), 3))].into(),
            error_class: class,
            earlier: Vec::new(),
        }
    }

    /// Offsets and places of the words, and the position after.
    fn run(wanted: &Wanted<'_>, letters: Vec<LoggedRecord>, end: i64, room: i64) -> (Vec<(u8, i32)>, Position) {
        let next = letters.last().map_or(0, |letter| letter.offset + 1);
        let portions = [(dead(0), Portion { records: letters, next, end: next })].into();
        let batch = batch(wanted, portions, &BTreeMap::new(), &[(dead(0), end)].into(), room);
        let words = batch.words.iter().map(|(into, word)| {
            assert_eq!((into.topic.as_str(), word.header(headers::CONTROL)), ("g.t.retry", Some("redrive")));
            (word.key.as_ref().unwrap()[0], into.partition)
        });
        (words.collect(), batch.positions[&dead(0)])
    }

    fn letters() -> Vec<LoggedRecord> {
        vec![
            letter(0, "g", "Exhausted", ("t", "2")),
            letter(1, "other", "Exhausted", ("t", "0")),
            letter(3, "g", "Poison", ("t", "1")),
            letter(4, "g", "Exhausted", ("t", "0")),
            letter(6, "g", "Exhausted", ("gone", "0")),
            letter(7, "g", "Exhausted", ("t", "3")),
            letter(8, "g", "Exhausted", ("t", "1")),
        ]
    }

    #[test]
    fn dead_letters_of_the_group_and_class_go_to_where_they_came_from() {
        let (words, position) = run(&wanted(Some("Exhausted")), letters(), 9, 100);
        assert_eq!(words, [(0, 2), (4, 0), (8, 1)]);
        // Of another class, of a topic that is not read, of a partition that there is not.
        assert_eq!(position, Position { next: 9, moved: 3, skipped: 3 });
        assert_eq!(run(&wanted(None), letters(), 9, 100).0, [(0, 2), (3, 1), (4, 0), (8, 1)]);
    }

    #[test]
    fn no_more_than_there_is_room_for_and_nothing_that_died_later() {
        let (words, position) = run(&wanted(None), letters(), 9, 2);
        assert_eq!((words.len(), position), (2, Position { next: 4, moved: 2, skipped: 0 }));
        let (words, position) = run(&wanted(None), letters(), 4, 100);
        assert_eq!((words.len(), position), (2, Position { next: 4, moved: 2, skipped: 0 }));
    }

    #[test]
    fn what_an_earlier_redrive_has_redriven_is_left_out() {
        let next = |offset: i64| [("dead".to_owned(), [("0".to_owned(), offset)].into())].into();
        let before = RedriveStatus {
            error_class: Some("Exhausted".into()),
            next: next(5),
            phase: RedrivePhase::Done,
            ..RedriveStatus::default()
        };
        let wanted = Wanted { earlier: vec![&before], ..wanted(None) };
        // The poison was not of its class, and the last one came later.
        assert_eq!(run(&wanted, letters(), 9, 100).0, [(3, 1), (8, 1)]);
    }

    #[test]
    fn a_position_reads_back_as_it_was_committed() {
        let position = Position { next: 7, moved: 3, skipped: 12 };
        assert_eq!(Position::read(&position.commit()), position);
        let by_hand = CommittedOffset { offset: 4, metadata: String::new() };
        assert_eq!(Position::read(&by_hand), Position { next: 4, ..Position::default() });
    }
}
