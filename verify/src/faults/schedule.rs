//! Which faults come when: pure, and the same for the same seed.

use std::{fmt, time::Duration};

use crate::random::Random;

/// Kinds of faults, sorted into classes.
pub trait Sorted: Copy {
    /// What a kind is about. Two faults of one class are never under way together.
    type Class: PartialEq + fmt::Debug;

    /// What the kind is about.
    fn class(self) -> Self::Class;

    /// What is done, in a few words.
    fn what(self) -> &'static str;
}

/// Kinds of faults that a run is made of.
pub trait Deal: Sorted + Ord + fmt::Debug + fmt::Display + 'static {
    /// What a fault hits.
    type Target: Clone + fmt::Debug + Eq + fmt::Display;

    /// What a fault of the kind hits, and how long it stays.
    fn aim(self, random: &mut Random) -> (Self::Target, Duration);

    /// How many faults of other classes join the first of a round, at most.
    fn company(random: &mut Random) -> u64;
}

/// A fault as it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<K: Deal> {
    /// What is done.
    pub kind: K,
    /// To whom.
    pub target: K::Target,
    /// How long it stays: a stopped process is continued after that, a lock is let go.
    pub hold: Duration,
    /// When, from the round's begin.
    pub after: Duration,
}

/// Faults that are under way together; the next round begins when all are undone and everything is well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round<K: Deal> {
    /// One or some of different classes.
    pub faults: Vec<Fault<K>>,
    /// Rest before the next.
    pub pause: Duration,
}

/// An endless series of rounds. Kinds are dealt from a shuffled deck, so that each comes once before any comes again.
#[derive(Debug)]
pub struct Schedule<K> {
    random: Random,
    kinds: Vec<K>,
    deck: Vec<K>,
}

impl<K: Deal> Schedule<K> {
    /// Rounds of faults of some kinds.
    pub fn new(seed: u64, kinds: &[K]) -> Self {
        Self { random: Random::stream(seed, u32::MAX), kinds: kinds.to_vec(), deck: vec![] }
    }

    /// Whether each kind has come equally often: the deck is empty.
    pub fn is_even(&self) -> bool {
        self.deck.is_empty()
    }

    fn deal(&mut self) -> Option<K> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            for last in (1..self.deck.len()).rev() {
                let other = self.random.index(last + 1);
                self.deck.swap(last, other);
            }
        }
        self.deck.pop()
    }

    fn fault(&mut self, kind: K, after: Duration) -> Fault<K> {
        let (target, hold) = kind.aim(&mut self.random);
        Fault { kind, target, hold, after }
    }
}

impl<K: Deal> Iterator for Schedule<K> {
    type Item = Round<K>;

    fn next(&mut self) -> Option<Round<K>> {
        let first = self.deal()?;
        let mut faults = vec![self.fault(first, Duration::ZERO)];
        for _ in 0..K::company(&mut self.random) {
            let fits = |kind: &K| faults.iter().all(|fault| fault.kind.class() != kind.class());
            let Some(place) = self.deck.iter().rposition(fits) else { break };
            let other = self.deck.remove(place);
            let after = Duration::from_millis(self.random.below(5_000));
            faults.push(self.fault(other, after));
        }
        Some(Round { faults, pause: Duration::from_millis(self.random.between(500, 3_000)) })
    }
}

impl<K: Deal> fmt::Display for Fault<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.target)?;
        if !self.hold.is_zero() {
            write!(f, " for {:.1} s", self.hold.as_secs_f64())?;
        }
        if !self.after.is_zero() {
            write!(f, ", {:.1} s later", self.after.as_secs_f64())?;
        }
        Ok(())
    }
}

impl<K: Deal> fmt::Display for Round<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        f.write_str(&faults.join(" + "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::faults::{Kind, PROJECTORS, Target};

    fn rounds(seed: u64, count: usize) -> Vec<Round<Kind>> {
        Schedule::new(seed, Kind::ALL).take(count).collect()
    }

    #[test]
    fn a_seed_makes_the_same_rounds_again_and_another_seed_others() {
        assert_eq!(rounds(7, 50), rounds(7, 50));
        assert_ne!(rounds(7, 50), rounds(8, 50));
    }

    #[test]
    fn each_kind_comes_before_any_comes_again() {
        for seed in 0..50 {
            let mut schedule = Schedule::new(seed, Kind::ALL);
            for times in 1..4 {
                let mut dealt: BTreeMap<Kind, u32> = BTreeMap::new();
                loop {
                    for fault in schedule.next().unwrap().faults {
                        *dealt.entry(fault.kind).or_default() += 1;
                    }
                    if schedule.is_even() {
                        break;
                    }
                }
                assert_eq!(dealt.len(), Kind::ALL.len(), "deck {times} of seed {seed}");
                assert!(dealt.values().all(|&count| count == 1), "deck {times} of seed {seed}: {dealt:?}");
            }
        }
    }

    #[test]
    fn two_faults_of_a_round_are_of_different_classes_so_that_one_broker_at_most_is_away() {
        let rounds = rounds(3, 2_000);
        assert!(rounds.iter().any(|round| round.faults.len() == 2));
        for round in rounds {
            let classes: Vec<_> = round.faults.iter().map(|fault| fault.kind.class()).collect();
            assert!(classes.len() == 1 || (classes.len() == 2 && classes[0] != classes[1]), "{round:?}");
        }
    }

    #[test]
    fn only_the_kinds_that_are_asked_for_come_and_all_targets_do() {
        let kinds = [Kind::BrokerKill, Kind::Scale];
        let mut hit: BTreeMap<String, u32> = BTreeMap::new();
        for mut fault in Schedule::new(1, &kinds).take(100).flat_map(|round| round.faults) {
            (fault.hold, fault.after) = (Duration::ZERO, Duration::ZERO);
            *hit.entry(fault.to_string()).or_default() += 1;
        }
        let said: Vec<&str> = hit.keys().map(String::as_str).collect();
        let brokers = ["broker-kill kafka-0", "broker-kill kafka-1", "broker-kill kafka-2"];
        assert_eq!(said, [&brokers[..], &["scale ledger-projector", "scale read-model-projector"]].concat());
        assert_eq!(Schedule::<Kind>::new(1, &[]).next(), None);
    }

    #[test]
    fn stops_past_the_session_end_before_the_kubelet_loses_patience() {
        for fault in Schedule::new(1, &[Kind::MemberStop]).take(200).flat_map(|round| round.faults) {
            assert!(fault.hold > Duration::from_secs(45) && fault.hold < Duration::from_secs(60), "{fault}");
            assert!(matches!(fault.target, Target::Processor(processor, _) if PROJECTORS.contains(&processor)));
        }
    }
}
