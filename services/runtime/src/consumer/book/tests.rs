//! Random lives of a partition: records come, fail, are parked, die; owners crash and others take over from what was committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tidegate_settings::{DeadLetter, Retry, RetryMode};

use super::*;

const LIMITS: Limits = Limits { open: 16, waiting_bytes: 1 << 20, parked: 12, parked_bytes: 1 << 20 };

#[derive(Clone, Debug)]
enum Step {
    /// The next record of the source partition comes; it is done at once, or begun.
    Admit { inline: bool },
    /// The next job begins to run.
    Start,
    /// One of the jobs that run ends.
    End { which: usize, outcome: Option<Class> },
    /// What is to be written is, or is not.
    Write { works: bool, first_comes_back: bool },
    /// What was written is read.
    Read,
    /// Offsets are committed.
    Commit,
    /// The owner is gone; the next one goes on from what was committed.
    Crash,
    /// Somebody decides about a dead letter.
    Decide { which: usize, redrive: bool },
    /// Time passes.
    Wait(u64),
}

fn outcomes() -> impl Strategy<Value = Option<Class>> {
    prop_oneof![
        6 => Just(None),
        3 => Just(Some(Class::Retry)),
        1 => Just(Some(Class::Panic)),
        1 => Just(Some(Class::Transient)),
        1 => Just(Some(Class::Poison)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<bool>().prop_map(|inline| Step::Admit { inline }),
        6 => Just(Step::Start),
        8 => (0..8_usize, outcomes()).prop_map(|(which, outcome)| Step::End { which, outcome }),
        3 => (prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(works, first_comes_back)| Step::Write { works, first_comes_back }),
        5 => Just(Step::Read),
        2 => Just(Step::Commit),
        1 => Just(Step::Crash),
        2 => (0..4_usize, any::<bool>()).prop_map(|(which, redrive)| Step::Decide { which, redrive }),
        2 => (0..2000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..250)
}

fn policy(ordered: bool, mode: RetryMode, dead_letter: bool) -> Arc<Policy> {
    let retry = Retry { attempts: Some(3), mode: Some(mode), ..Retry::default() };
    let dead_letter = dead_letter.then(|| DeadLetter { topic: "dead".into(), partitions: None, retention: None });
    Arc::new(Policy::new(("g", "t"), ordered, Some(&retry), dead_letter.as_ref()))
}

/// Kafka, as far as a partition sees it, and its owner.
struct World {
    policy: Arc<Policy>,
    now: Instant,
    source: Vec<Record>,
    /// The retry partition: a word, or the marker that ends a transaction.
    log: Vec<Option<Word>>,
    committed: Commit,
    dead: BTreeMap<i64, Record>,
    /// Keys' dead letters about which somebody has to decide.
    undecided: BTreeSet<i64>,
    skipped: BTreeSet<i64>,
    handled: BTreeMap<i64, u32>,
    parked_ever: BTreeSet<i64>,
    crashes: u32,
    // The owner.
    book: Book,
    came: usize,
    read: usize,
    running: Vec<Job>,
}

impl World {
    fn new(policy: Arc<Policy>, keys: &[Option<u8>]) -> Self {
        let record = |(offset, key): (usize, &Option<u8>)| Record {
            topic: "t".into(),
            partition: 0,
            offset: offset as i64,
            timestamp: None,
            key: key.map(|key| vec![key]),
            value: Some(vec![0; 10]),
            headers: Vec::new(),
        };
        let source = keys.iter().enumerate().map(record).collect();
        let book = Book::new(Arc::clone(&policy), LIMITS, 0, &RetryState::default());
        Self {
            policy,
            now: Instant::now(),
            source,
            log: Vec::new(),
            committed: Commit::default(),
            dead: BTreeMap::new(),
            undecided: BTreeSet::new(),
            skipped: BTreeSet::new(),
            handled: BTreeMap::new(),
            parked_ever: BTreeSet::new(),
            crashes: 0,
            book,
            came: 0,
            read: 0,
            running: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Admit { inline } => self.admit(inline),
            Step::Start => self.start(),
            Step::End { which, outcome } => {
                if !self.running.is_empty() {
                    let job = self.running.remove(which % self.running.len());
                    self.end(job, outcome);
                }
            }
            Step::Write { works, first_comes_back } => self.write(works, first_comes_back),
            Step::Read => self.read_one(),
            Step::Commit => self.commit(),
            Step::Crash => self.crash(),
            Step::Decide { which, redrive } => self.decide(which, redrive),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
        }
        assert!(self.book.open.len() <= LIMITS.open, "more is open than may be");
        assert!(self.book.parked() <= LIMITS.parked + LIMITS.open + 1, "more is parked than may be");
        let most = self.book.open.len() + self.book.parked() + self.book.quarantined();
        assert!(self.book.lanes.len() <= most, "lanes remain");
    }

    fn admit(&mut self, inline: bool) {
        if !self.book.wants_more() || self.came >= self.source.len() {
            return;
        }
        let record = self.source[self.came].clone();
        self.came += 1;
        if let Admitted::Free(record) = self.book.admit(record) {
            if inline {
                self.handle(&record);
            } else {
                let job = begin(&mut self.book, record);
                self.running.push(job);
            }
        }
    }

    fn start(&mut self) {
        if let Some(job) = self.book.next(self.now) {
            if let Some(key) = self.key_in_order(&job.record) {
                let busy = self.running.iter().any(|other| other.record.key == Some(key.clone()));
                assert!(!busy, "two records of a key run at once");
            }
            self.running.push(job);
        }
    }

    fn end(&mut self, job: Job, outcome: Option<Class>) {
        match outcome {
            None => {
                self.handle(&job.record);
                self.book.succeed(&job);
            }
            Some(class) => {
                self.book.fail(job, class, "no".into(), (self.now, 0.5));
            }
        }
    }

    fn key_in_order(&self, record: &Record) -> Option<Vec<u8>> {
        record.key.clone().filter(|_| self.policy.ordered)
    }

    fn handle(&mut self, record: &Record) {
        assert!(!self.skipped.contains(&record.offset), "{} was given up, and handled", record.offset);
        // The order of a key: everything before it has been handled, or given up, or is a dead letter that holds nothing up.
        if let Some(key) = self.key_in_order(record) {
            for before in self.source[..record.offset as usize].iter().filter(|r| r.key.as_ref() == Some(&key)) {
                let offset = before.offset;
                let settled = self.handled.contains_key(&offset)
                    || self.skipped.contains(&offset)
                    || (self.policy.retry_topic.is_none() && self.dead.contains_key(&offset));
                assert!(settled, "{} was handled before {offset} of its key", record.offset);
            }
        }
        *self.handled.entry(record.offset).or_default() += 1;
        if self.crashes == 0 {
            assert_eq!(self.handled[&record.offset], 1, "{} was handled twice without a crash", record.offset);
        }
    }

    fn write(&mut self, works: bool, first_comes_back: bool) {
        if !self.book.must_write() {
            return;
        }
        let commit = self.book.write(4, 1 << 20);
        if !works {
            self.book.not_written();
            return;
        }
        for entry in self.book.writing().to_vec() {
            let origin = entry.record.offset;
            match &entry.what {
                What::Park => {
                    self.parked_ever.insert(origin);
                    self.log.push(Some(Word::Parked { record: entry.record.clone(), attempts: entry.attempts }));
                }
                What::Die { quarantine, .. } => {
                    let twice = self.dead.insert(origin, entry.record.clone()).is_some();
                    assert!(!twice || self.crashes > 0 || *quarantine, "{origin} died twice");
                    assert!(!self.skipped.contains(&origin), "{origin} was given up, and died");
                    if *quarantine {
                        self.undecided.insert(origin);
                        let key = entry.record.key.clone().unwrap();
                        self.log.push(Some(Word::Quarantine { key, origin }));
                    }
                }
            }
        }
        self.log.push(None);
        self.committed = commit;
        self.check_commit();
        if first_comes_back {
            self.read_one();
        }
        self.book.written();
    }

    fn read_one(&mut self) {
        while self.read < self.log.len() {
            let at = self.read;
            self.read += 1;
            if let Some(word) = self.log[at].clone() {
                self.book.hear(at as i64, word, (self.now, 0.5));
                return;
            }
        }
    }

    fn commit(&mut self) {
        self.committed = self.book.commit();
        self.check_commit();
    }

    /// Every record below the committed offset is handled, parked or dead.
    fn check_commit(&self) {
        for offset in 0..self.committed.offset {
            assert!(
                self.handled.contains_key(&offset)
                    || self.parked_ever.contains(&offset)
                    || self.dead.contains_key(&offset),
                "{offset} is committed, and neither handled nor parked nor dead"
            );
        }
        // And every parked one that is finished is handled or dead.
        let state = RetryState::decode(&self.committed.state).unwrap_or_default();
        for (at, word) in self.log.iter().enumerate() {
            if let Some(Word::Parked { record, .. } | Word::Redrive { record }) = word
                && state.is_finished(at as i64)
            {
                let offset = record.offset;
                assert!(
                    self.handled.contains_key(&offset) || self.dead.contains_key(&offset),
                    "the parked {offset} is finished, and neither handled nor dead"
                );
            }
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.running.clear();
        let state = RetryState::decode(&self.committed.state).unwrap_or_default();
        self.book = Book::new(Arc::clone(&self.policy), LIMITS, self.committed.offset, &state);
        self.came = self.committed.offset as usize;
        self.read = state.low() as usize;
        while self.read < self.log.len() {
            self.read_one();
        }
        assert_eq!(self.book.heard_all(self.log.len() as i64), 0, "something is missing in the retry partition");
    }

    fn decide(&mut self, which: usize, redrive: bool) {
        let Some(origin) = self.undecided.iter().nth(which).copied() else { return };
        let record = self.dead[&origin].clone();
        self.undecided.remove(&origin);
        let word = if redrive {
            Word::Redrive { record }
        } else {
            self.skipped.insert(origin);
            Word::Skip { key: record.key, origin }
        };
        // Said twice is as good as once.
        self.log.push(Some(word.clone()));
        if which.is_multiple_of(2) && !redrive {
            self.log.push(Some(word));
        }
    }

    /// Everything works from now on, and somebody decides about all that is dead.
    fn finish(&mut self) {
        for round in 0..10_000 {
            self.now += Duration::from_secs(60);
            self.admit(round % 2 == 0);
            self.start();
            if let Some(job) = self.running.pop() {
                self.end(job, None);
            }
            self.write(true, false);
            self.read_one();
            self.decide(0, round % 3 == 0);
            let quiet = self.came == self.source.len() && self.running.is_empty() && self.book.lanes.is_empty();
            if quiet && self.read == self.log.len() && self.undecided.is_empty() {
                break;
            }
        }
        self.commit();
        let all: BTreeSet<_> = (0..self.source.len() as i64).collect();
        let ended: BTreeSet<_> = self.handled.keys().chain(self.dead.keys()).copied().collect();
        assert_eq!(ended, all, "something is lost, or stuck: {:?}", self.book);
        assert_eq!(self.committed.offset, self.source.len() as i64);
        assert_eq!((self.book.parked(), self.book.quarantined(), self.book.parked_bytes), (0, 0, 0));
        assert_eq!((self.book.waiting_bytes, self.book.stalled), (0, 0));
    }
}

fn live(policy: Arc<Policy>, keys: &[Option<u8>], steps: &[Step]) {
    let mut world = World::new(policy, keys);
    for step in steps {
        world.step(step);
    }
    world.finish();
}

fn keys() -> impl Strategy<Value = Vec<Option<u8>>> {
    prop::collection::vec(prop::option::weighted(0.9, 0..4_u8), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_ordered_stream_loses_nothing_and_keeps_its_order(keys in keys(), steps in steps()) {
        live(policy(true, RetryMode::Topic, true), &keys, &steps);
    }

    #[test]
    fn a_stream_without_order_loses_nothing(keys in keys(), steps in steps()) {
        live(policy(false, RetryMode::Topic, true), &keys, &steps);
    }

    #[test]
    fn who_waits_in_place_loses_nothing_and_keeps_the_order(keys in keys(), steps in steps()) {
        live(policy(true, RetryMode::InPlace, true), &keys, &steps);
    }
}

fn begin(book: &mut Book, record: Record) -> Job {
    let lane = book.begin(record.offset, record.key.as_deref());
    Job::new(record, lane)
}

fn record(offset: i64, key: &str) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp: None,
        key: Some(key.into()),
        value: None,
        headers: Vec::new(),
    }
}

#[test]
fn a_key_that_fails_holds_up_its_own_records_and_no_others() {
    let now = Instant::now();
    let mut book = Book::new(policy(true, RetryMode::Topic, true), LIMITS, 0, &RetryState::default());
    let Admitted::Free(first) = book.admit(record(0, "a")) else { panic!("nothing is before it") };
    let first = begin(&mut book, first);
    assert_eq!(book.admit(record(1, "a")), Admitted::Kept);
    assert_eq!(book.fail(first, Class::Retry, String::new(), (now, 1.0)), Verdict::Parks);
    assert_eq!(book.admit(record(2, "b")), Admitted::Free(record(2, "b")));
    assert!(book.next(now).is_none());
    assert_eq!(book.commit().offset, 0);
    assert_eq!(book.write(10, 1000).offset, 3);
    let parked: Vec<_> = book.writing().iter().map(|entry| (entry.record.offset, entry.attempts)).collect();
    assert_eq!(parked, [(0, 1), (1, 0)]);
    book.written();
    assert_eq!(book.commit().offset, 3);
}

#[test]
fn a_dead_letter_that_is_given_up_stays_so_when_its_record_comes_again() {
    let now = Instant::now();
    let mut book = Book::new(policy(true, RetryMode::Topic, true), LIMITS, 0, &RetryState::default());
    let Admitted::Free(first) = book.admit(record(0, "a")) else { panic!("nothing is before it") };
    let first = begin(&mut book, first);
    let Admitted::Free(dies) = book.admit(record(1, "b")) else { panic!("nothing of its key is before it") };
    let dies = begin(&mut book, dies);
    book.fail(dies, Class::Poison, String::new(), (now, 1.0));
    book.write(10, 1000);
    book.written();
    let said = [
        (0, Word::Quarantine { key: "b".into(), origin: 1 }, Heard::Quarantined),
        (2, Word::Skip { key: Some("b".into()), origin: 1 }, Heard::Skipped),
    ];
    let hear = |book: &mut Book| {
        for (at, word, heard) in &said {
            assert_eq!(book.hear(*at, word.clone(), (now, 1.0)), *heard);
        }
    };
    hear(&mut book);
    // The first record keeps the offset where it is; whoever comes next reads both again.
    let commit = book.commit();
    assert_eq!((commit.offset, commit.retry_low, book.quarantined()), (0, 0, 0));
    let state = RetryState::decode(&commit.state).unwrap();
    let mut book = Book::new(policy(true, RetryMode::Topic, true), LIMITS, commit.offset, &state);
    hear(&mut book);
    assert_eq!(book.heard_all(3), 0);
    assert_eq!(book.admit(record(0, "a")), Admitted::Free(record(0, "a")));
    assert_eq!(book.commit().retry_low, 0);
    assert_eq!(book.admit(record(1, "b")), Admitted::Repeated);
    assert_eq!(book.admit(record(2, "b")), Admitted::Free(record(2, "b")));
    let commit = book.commit();
    assert_eq!((commit.offset, commit.retry_low, book.parked()), (3, 3, 0));
    drop(first);
}

#[test]
fn what_cannot_be_put_anywhere_stops_the_partition_before_it() {
    let now = Instant::now();
    let mut book = Book::new(policy(true, RetryMode::Topic, false), LIMITS, 5, &RetryState::default());
    let Admitted::Free(first) = book.admit(record(5, "a")) else { panic!("nothing is before it") };
    let first = begin(&mut book, first);
    assert_eq!(book.fail(first, Class::Poison, String::new(), (now, 1.0)), Verdict::Stops);
    assert!(book.is_stopped() && !book.wants_more());
    assert_eq!(book.commit().offset, 5);
}

#[test]
fn what_is_away_stops_intake_until_it_is_back_and_counts_no_attempt() {
    let now = Instant::now();
    let mut book = Book::new(policy(true, RetryMode::Topic, true), LIMITS, 0, &RetryState::default());
    let Admitted::Free(first) = book.admit(record(0, "a")) else { panic!("nothing is before it") };
    let mut job = begin(&mut book, first);
    for _ in 0..20 {
        assert!(matches!(book.fail(job, Class::Transient, String::new(), (now, 1.0)), Verdict::Waits(_)));
        assert!(!book.wants_more() && book.next(now).is_none());
        job = book.next(now + Duration::from_secs(60)).unwrap();
        assert_eq!(job.attempts, 0);
    }
    book.succeed(&job);
    assert!(book.wants_more());
}

#[test]
fn what_does_not_fit_into_the_retry_partition_is_a_dead_letter_and_its_key_waits() {
    let now = Instant::now();
    let mut book = Book::new(policy(true, RetryMode::Topic, true), LIMITS, 0, &RetryState::default());
    let Admitted::Free(first) = book.admit(record(0, "a")) else { panic!("nothing is before it") };
    let first = begin(&mut book, first);
    assert_eq!(book.admit(record(1, "a")), Admitted::Kept);
    book.fail(first, Class::Retry, String::new(), (now, 1.0));
    book.write(10, 1000);
    assert_eq!(book.too_large(0, "large".into()), Verdict::Dies);
    assert_eq!(book.write(10, 1000).offset, 2);
    assert!(matches!(&book.writing()[0].what, What::Die { class: Class::TooLarge, quarantine: true, .. }));
    assert_eq!(book.writing()[1].what, What::Park);
    assert_eq!(book.quarantined(), 1);
    // Too large for the dead-letter topic as well: nothing is lost, the partition stops.
    assert_eq!(book.too_large(0, "large".into()), Verdict::Stops);
    assert!(book.is_stopped());
    assert_eq!(book.commit().offset, 0);
}
