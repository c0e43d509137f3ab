//! Which faults come when: pure, and the same for the same seed.

use std::{fmt, time::Duration};

use super::Kind;
use crate::random::Random;

/// The wallet's processors.
pub const PROCESSORS: [&str; 3] = ["commands", "ledger-projector", "read-model-projector"];
/// Those that are members of a group.
pub const PROJECTORS: [&str; 2] = ["ledger-projector", "read-model-projector"];
/// Tables that projectors write.
pub const TABLES: [&str; 2] = ["ledger_entries", "wallet_read_model"];
const BROKERS: usize = 3;

/// A fault as it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is done.
    pub kind: Kind,
    /// To whom.
    pub target: Target,
    /// How long it stays: a stopped process is continued after that, a lock is let go.
    pub hold: Duration,
    /// When, from the round's begin.
    pub after: Duration,
}

/// What a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One of a processor's pods: the number chooses among those that run.
    Processor(&'static str, usize),
    /// A broker by its number.
    Broker(usize),
    /// A projection's table.
    Table(&'static str),
    /// A wallet of the run: the number chooses.
    Wallet(usize),
    /// The only one of its kind.
    Only,
}

/// Faults that are under way together; the next round begins when all are undone and everything is well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// One or two of different classes.
    pub faults: Vec<Fault>,
    /// Rest before the next.
    pub pause: Duration,
}

/// An endless series of rounds. Kinds are dealt from a shuffled deck, so that each comes once before any comes again.
#[derive(Debug)]
pub struct Schedule {
    random: Random,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
}

impl Schedule {
    /// Rounds of faults of some kinds.
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self { random: Random::stream(seed, u32::MAX), kinds: kinds.to_vec(), deck: vec![] }
    }

    /// Whether each kind has come equally often: the deck is empty.
    pub fn is_even(&self) -> bool {
        self.deck.is_empty()
    }

    fn deal(&mut self) -> Option<Kind> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            for last in (1..self.deck.len()).rev() {
                let other = self.random.index(last + 1);
                self.deck.swap(last, other);
            }
        }
        self.deck.pop()
    }

    fn fault(&mut self, kind: Kind, after: Duration) -> Fault {
        let random = &mut self.random;
        let target = match kind {
            Kind::MemberKill | Kind::MemberPause | Kind::MemberDelete | Kind::MemberVanish => {
                Target::Processor(PROCESSORS[random.index(PROCESSORS.len())], random.index(6))
            }
            Kind::MemberStop | Kind::Scale => {
                Target::Processor(PROJECTORS[random.index(PROJECTORS.len())], random.index(6))
            }
            Kind::BrokerKill | Kind::BrokerPause | Kind::BrokerDelete => Target::Broker(random.index(BROKERS)),
            Kind::TableLock | Kind::RetryStorm => Target::Table(TABLES[random.index(TABLES.len())]),
            Kind::PoisonedWallet => Target::Wallet(random.index(1 << 16)),
            _ => Target::Only,
        };
        // Milliseconds.
        let (least, most) = match kind {
            // The lease of a relay's shard is 10 s.
            Kind::MemberPause => (1_000, 20_000),
            // A group expels after 45 s; the kubelet kills after six probes in vain, which takes a minute.
            Kind::MemberStop => (49_000, 53_000),
            Kind::Scale => (5_000, 15_000),
            // Controllers fence a broker after 9 s.
            Kind::BrokerPause => (3_000, 25_000),
            Kind::Disconnect => (2_000, 8_000),
            Kind::TableLock => (2_000, 10_000),
            // A record is tried for half a minute in all.
            Kind::RetryStorm => (1_000, 10_000),
            Kind::PoisonedWallet => (1_000, 5_000),
            _ => (0, 0),
        };
        Fault { kind, target, hold: Duration::from_millis(random.between(least, most)), after }
    }
}

impl Iterator for Schedule {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let first = self.deal()?;
        let mut faults = vec![self.fault(first, Duration::ZERO)];
        let fits = |kind: &Kind| kind.class() != first.class();
        if self.random.below(2) == 0
            && let Some(place) = self.deck.iter().rposition(fits)
        {
            let second = self.deck.remove(place);
            let after = Duration::from_millis(self.random.below(5_000));
            faults.push(self.fault(second, after));
        }
        Some(Round { faults, pause: Duration::from_millis(self.random.between(500, 3_000)) })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.target {
            Target::Processor(processor, _) => write!(f, " {processor}")?,
            Target::Broker(broker) => write!(f, " kafka-{broker}")?,
            Target::Table(table) => write!(f, " {table}")?,
            Target::Wallet(_) | Target::Only => {}
        }
        if !self.hold.is_zero() {
            write!(f, " for {:.1} s", self.hold.as_secs_f64())?;
        }
        if !self.after.is_zero() {
            write!(f, ", {:.1} s later", self.after.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rounds(seed: u64, count: usize) -> Vec<Round> {
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
        assert_eq!(Schedule::new(1, &[]).next(), None);
    }

    #[test]
    fn stops_past_the_session_end_before_the_kubelet_loses_patience() {
        for fault in Schedule::new(1, &[Kind::MemberStop]).take(200).flat_map(|round| round.faults) {
            assert!(fault.hold > Duration::from_secs(45) && fault.hold < Duration::from_secs(60), "{fault}");
            assert!(matches!(fault.target, Target::Processor(processor, _) if PROJECTORS.contains(&processor)));
        }
    }
}
