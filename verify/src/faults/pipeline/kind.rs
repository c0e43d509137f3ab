//! The faults of pipelines that there are, and what each hits for how long.

use std::{fmt, time::Duration};

use crate::{
    faults::{
        aim::BROKERS,
        schedule::{Deal, Sorted},
    },
    random::Random,
};

/// What a fault is about. Two faults of one class are never under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The operator.
    Operator,
    /// The brokers.
    Brokers,
    /// The processors' pods.
    Members,
    /// What the pipelines' specs say.
    Specs,
    /// Whether and how often pipelines run: suspended, made anew, replayed.
    Turns,
    /// The KafkaTopics.
    Topics,
    /// What the operator made.
    Objects,
}

kinds! {
    /// SIGKILL of the operator that leads.
    OperatorKill = "operator-kill", Operator, "deletion of the operator's leader without grace";
    /// All operators at once.
    OperatorsKill = "operators-kill", Operator, "deletion of all operators without grace";
    /// The leader is frozen until another leads, and wakes up.
    OperatorPause = "operator-pause", Operator, "SIGSTOP of the operator's leader past its lease; it wakes up beside another";
    /// The leader hears and reaches nobody until another leads.
    OperatorPartition = "operator-partition", Operator, "the operator's leader cut off from the network past its lease";
    /// SIGKILL of a broker's process.
    BrokerKill = "broker-kill", Brokers, "SIGKILL of a broker's process";
    /// SIGSTOP of a broker's process.
    BrokerPause = "broker-pause", Brokers, "SIGSTOP of a broker's process, past its session with the controllers";
    /// A broker's pod goes away without a warning.
    BrokerDelete = "broker-delete", Brokers, "deletion of a broker's pod without grace";
    /// A pod goes away without a warning.
    MemberVanish = "member-vanish", Members, "deletion of a processor's pod without grace";
    /// Another number of pods.
    Replicas = "replicas", Specs, "another number of replicas";
    /// Who decides on it.
    Scaling = "scaling", Specs, "scaling set, changed or taken out";
    /// Another way to try again.
    Retry = "retry", Specs, "other attempts and pauses of retries";
    /// Another retention of dead letters.
    DeadLetters = "dead-letters", Specs, "another retention of dead letters";
    /// Another objective, severity or none.
    Alerts = "alerts", Specs, "another objective of lag, other alerts";
    /// A processor more, one less, or one by another name.
    Processors = "processors", Specs, "a processor added, taken out, put back or renamed";
    /// Managed users or one that was brought.
    Users = "users", Specs, "managed users instead of one that was brought, or the other way round";
    /// Other environment variables.
    Roll = "roll", Specs, "another environment, which rolls the pods";
    /// Other passwords are asked for.
    Rotate = "rotate", Turns, "other credentials asked for by the annotation";
    /// A pipeline sleeps for a while.
    Suspend = "suspend", Turns, "a pipeline suspended for a while";
    /// A pipeline is deleted, and made again.
    Recreate = "recreate", Turns, "a pipeline deleted, and made again a while later";
    /// A replay is asked for.
    Replay = "replay", Turns, "a processor asked to read again from the beginning";
    /// A redrive is asked for.
    Redrive = "redrive", Turns, "dead letters asked to be tried again";
    /// Configuration and partitions.
    TopicEdit = "topic-edit", Topics, "other configuration of a KafkaTopic, or more partitions";
    /// A KafkaTopic is deleted, and made again.
    TopicRecreate = "topic-recreate", Topics, "a KafkaTopic deleted, and made again a while later";
    /// Something that the operator made is deleted.
    ObjectDelete = "object-delete", Objects, "deletion of an object that the operator made";
    /// Something that the operator made is edited.
    ObjectEdit = "object-edit", Objects, "an edit of an object that the operator made";
    /// Kafka's ACLs are changed behind the operator's back.
    Rights = "rights", Objects, "an ACL of a managed user taken away and another given";
    /// A topic is changed behind the operator's back.
    TopicDrift = "topic-drift", Objects, "a topic's configuration changed behind the operator's back";
}

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A broker by its number.
    Broker(usize),
    /// The number chooses among what is there then.
    Chosen(u64),
    /// The only one of its kind.
    Only,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(broker) => write!(f, " kafka-{broker}"),
            Self::Chosen(_) | Self::Only => Ok(()),
        }
    }
}

impl Deal for Kind {
    type Target = Target;

    fn aim(self, random: &mut Random) -> (Target, Duration) {
        let target = match self.class() {
            Class::Operator => Target::Only,
            Class::Brokers => Target::Broker(random.index(BROKERS)),
            _ => Target::Chosen(random.below(u64::MAX)),
        };
        // Milliseconds.
        let (least, most) = match self {
            // A lease is 15 s; the kubelet kills after six probes in vain, which takes a minute.
            Self::OperatorPause | Self::OperatorPartition => (20_000, 40_000),
            // Controllers fence a broker after 9 s.
            Self::BrokerPause => (3_000, 25_000),
            Self::Suspend => (1_000, 20_000),
            Self::Recreate | Self::TopicRecreate => (0, 15_000),
            _ => (0, 0),
        };
        (target, Duration::from_millis(random.between(least, most)))
    }

    fn company(random: &mut Random) -> u64 {
        1 + random.below(3)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::faults::Schedule;

    #[test]
    fn each_kind_comes_before_any_comes_again_and_a_round_is_of_different_classes() {
        for seed in 0..50 {
            let mut schedule = Schedule::new(seed, Kind::ALL);
            let mut dealt: BTreeMap<Kind, u32> = BTreeMap::new();
            loop {
                let round = schedule.next().unwrap();
                for (at, fault) in round.faults.iter().enumerate() {
                    *dealt.entry(fault.kind).or_default() += 1;
                    let others = || round.faults.iter().take(at);
                    assert!(others().all(|other| other.kind.class() != fault.kind.class()), "{round}");
                }
                if schedule.is_even() {
                    break;
                }
            }
            assert_eq!(dealt.len(), Kind::ALL.len());
            assert!(dealt.values().all(|&count| count == 1), "{dealt:?}");
        }
    }

    #[test]
    fn specs_are_edited_while_brokers_and_operators_are_away() {
        let rounds: Vec<_> = Schedule::new(1, Kind::ALL).take(500).collect();
        let together = |one: Class, other: Class| {
            rounds.iter().any(|round| {
                [one, other].iter().all(|class| round.faults.iter().any(|fault| fault.kind.class() == *class))
            })
        };
        for edits in [Class::Specs, Class::Turns, Class::Topics, Class::Objects] {
            assert!(together(edits, Class::Brokers) && together(edits, Class::Operator), "{edits:?}");
        }
    }

    #[test]
    fn an_operator_is_away_for_longer_than_its_lease_and_shorter_than_the_kubelet_bears() {
        for fault in
            Schedule::new(1, &[Kind::OperatorPause, Kind::OperatorPartition]).take(200).flat_map(|round| round.faults)
        {
            assert!(fault.hold > Duration::from_secs(15) && fault.hold < Duration::from_secs(50), "{fault}");
        }
    }
}
