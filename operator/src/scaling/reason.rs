//! Why a number of pods was decided on, in a word for programs and in a sentence for people.

use std::time::Duration;

/// Why there are to be so many pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// They keep up.
    InTarget {
        /// How many they are.
        pods: i32,
        /// Within how long a backlog is to be gone.
        target: Duration,
    },
    /// More are started.
    ScaledOut {
        /// How many there were.
        from: i32,
        /// How many there are to be.
        to: i32,
        /// How many would be needed.
        needed: i32,
        /// Records behind.
        lag: i64,
        /// Records/s that come.
        produced: f64,
        /// Records/s of one pod.
        rate: f64,
        /// Within how long the backlog is to be gone.
        target: Duration,
    },
    /// Some are stopped.
    ScaledIn {
        /// How many there were.
        from: i32,
        /// How many there are to be.
        to: i32,
        /// For how long so many were enough.
        window: Duration,
        /// Records/s of one pod.
        rate: f64,
    },
    /// More are needed, and the last change was a moment ago.
    ScaleOutPending {
        /// How many are needed.
        needed: i32,
        /// How long after a change there may be more.
        window: Duration,
    },
    /// Fewer are enough, and have not been for long enough.
    ScaleInPending {
        /// How many are enough.
        enough: i32,
        /// For how long they must be.
        window: Duration,
    },
    /// More are needed than `max` allows.
    AtMax {
        /// How many are needed.
        needed: i32,
        /// How many there may be.
        max: i32,
    },
    /// More are needed than there are partitions to read.
    AtPartitions {
        /// How many are needed.
        needed: i32,
        /// How many partitions there are.
        partitions: i32,
    },
    /// One partition is behind, and only one pod can read it.
    HotPartition {
        /// `topic/partition`.
        partition: String,
        /// Records behind there.
        lag: i64,
        /// Records/s of one pod.
        rate: f64,
    },
    /// The last new pods brought nothing: what limits them is elsewhere.
    NoGain {
        /// How many there were before.
        before: i32,
        /// How many there are.
        pods: i32,
        /// Records/s that they handle.
        consumed: f64,
    },
    /// Nothing at all is handled.
    NotConsuming {
        /// How many pods do not.
        pods: i32,
    },
    /// What a pod can do is not known yet.
    Measuring,
    /// New pods are not ready.
    PodsStarting {
        /// Ready ones.
        ready: i32,
        /// All.
        pods: i32,
    },
    /// The Deployment does not have the number yet.
    Applying,
    /// The group settles who reads what.
    Rebalancing,
    /// Replicas of what is read are missing.
    BrokerMissing,
    /// Something that is needed for a decision is unknown.
    DataMissing,
    /// The number was outside of what may be.
    Bounds {
        /// Fewest.
        min: i32,
        /// Most.
        max: i32,
        /// Partitions that there are.
        partitions: Option<i32>,
    },
    /// No pods, because there is nothing to do.
    Idle,
    /// There is something to do again.
    Woken {
        /// Records that wait.
        records: i64,
    },
}

impl Reason {
    /// In a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InTarget { .. } => "InTarget",
            Self::ScaledOut { .. } => "ScaledOut",
            Self::ScaledIn { .. } => "ScaledIn",
            Self::ScaleOutPending { .. } => "ScaleOutPending",
            Self::ScaleInPending { .. } => "ScaleInPending",
            Self::AtMax { .. } => "AtMax",
            Self::AtPartitions { .. } => "AtPartitions",
            Self::HotPartition { .. } => "HotPartition",
            Self::NoGain { .. } => "NoGain",
            Self::NotConsuming { .. } => "NotConsuming",
            Self::Measuring => "Measuring",
            Self::PodsStarting { .. } => "PodsStarting",
            Self::Applying => "Applying",
            Self::Rebalancing => "Rebalancing",
            Self::BrokerMissing => "BrokerMissing",
            Self::DataMissing => "DataMissing",
            Self::Bounds { .. } => "Bounds",
            Self::Idle => "Idle",
            Self::Woken { .. } => "Woken",
        }
    }

    /// In a sentence, with what to do where somebody should.
    pub fn message(&self) -> String {
        match self {
            Self::InTarget { pods, target } => {
                format!("{} would be through with any backlog within {}", count(*pods, "pod"), span(*target))
            }
            Self::ScaledOut { from, to, needed, lag, produced, rate, target } => {
                let clamped = if needed > to { " (as many as there may be)" } else { "" };
                format!(
                    "from {from} to {to} pods{clamped}: {lag} records behind and {produced:.0} more a second need {needed} pods at \
                     {rate:.0} records/s each to be through within {}",
                    span(*target)
                )
            }
            Self::ScaledIn { from, to, window, rate } => format!(
                "from {from} to {}: no more were needed for {}, at {rate:.0} records/s each",
                count(*to, "pod"),
                span(*window)
            ),
            Self::ScaleOutPending { needed, window } => {
                format!("{} are needed; the last change is less than {} ago", count(*needed, "pod"), span(*window))
            }
            Self::ScaleInPending { enough, window } => {
                format!("{} would do; there are fewer once that has held for {}", count(*enough, "pod"), span(*window))
            }
            Self::AtMax { needed, max } => {
                format!(
                    "{needed} pods are needed and scaling.max is {max}; raise it, or make each record cheaper to handle"
                )
            }
            Self::AtPartitions { needed, partitions } => format!(
                "{needed} pods are needed and there are {}, each of which one pod reads; grow the topic, or make each record \
                 cheaper to handle",
                count(*partitions, "partition")
            ),
            Self::HotPartition { partition, lag, rate } => format!(
                "partition {partition} is {lag} records behind and needs more than the {rate:.0} records/s of a pod, and only one pod \
                 can read it: more pods would not help; spread its keys, or make each record cheaper to handle"
            ),
            Self::NoGain { before, pods, consumed } => format!(
                "{pods} pods handle {consumed:.0} records/s, hardly more than {before} did: what limits them is elsewhere, such as the \
                 database; trying more again later"
            ),
            Self::NotConsuming { pods } => format!(
                "{} ready and nothing is handled: more would not help; look at the logs of the pods",
                if *pods == 1 { "1 pod is".to_owned() } else { format!("{pods} pods are") }
            ),
            Self::Measuring => "there is a backlog; measuring what one pod handles before there are more".to_owned(),
            Self::PodsStarting { ready, pods } => {
                format!("{ready} of {pods} pods are ready; there are no more before those are")
            }
            Self::Applying => "the Deployment does not have this number of pods yet".to_owned(),
            Self::Rebalancing => "the group shares out its partitions; held until that is done".to_owned(),
            Self::BrokerMissing => {
                "replicas of what is read are missing, and rates mean little while leaders move; held".to_owned()
            }
            Self::DataMissing => "lag, rates or the group's state are unknown at the moment; held".to_owned(),
            Self::Bounds { min, max, partitions } => {
                let partitions =
                    partitions.map_or(String::new(), |found| format!(" and {}", count(found, "partition")));
                format!("the number has to keep to scaling.min {min}, scaling.max {max}{partitions}")
            }
            Self::Idle => {
                "nothing was read or written for the whole window; the first record brings a pod back".to_owned()
            }
            Self::Woken { records } => {
                format!("{} to handle; what they need is measured next", count(*records, "record"))
            }
        }
    }
}

fn count<N: std::fmt::Display + PartialEq + From<i32>>(number: N, what: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// `90s` as people write it.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds, span.subsec_millis()) {
        (_, millis) if millis > 0 => format!("{}ms", span.as_millis()),
        (seconds, _) if seconds >= 3600 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, _) if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_their_figures_and_say_what_to_do() {
        let (minute, target) = (Duration::from_secs(60), Duration::from_secs(15));
        let out = |to| Reason::ScaledOut { from: 1, to, needed: 4, lag: 12_000, produced: 400.0, rate: 300.4, target };
        let cases = [
            (
                out(4),
                "from 1 to 4 pods: 12000 records behind and 400 more a second need 4 pods at 300 records/s each to be through within \
                 15s",
            ),
            (
                out(3),
                "from 1 to 3 pods (as many as there may be): 12000 records behind and 400 more a second need 4 pods at 300 records/s \
                 each to be through within 15s",
            ),
            (Reason::InTarget { pods: 1, target }, "1 pod would be through with any backlog within 15s"),
            (
                Reason::ScaledIn { from: 3, to: 2, window: minute, rate: 50.0 },
                "from 3 to 2 pods: no more were needed for 1m, at 50 records/s each",
            ),
            (
                Reason::ScaleOutPending { needed: 5, window: Duration::from_secs(90) },
                "5 pods are needed; the last change is less than 90s ago",
            ),
            (
                Reason::ScaleInPending { enough: 1, window: 5 * minute },
                "1 pod would do; there are fewer once that has held for 5m",
            ),
            (
                Reason::AtMax { needed: 9, max: 4 },
                "9 pods are needed and scaling.max is 4; raise it, or make each record cheaper to handle",
            ),
            (
                Reason::AtPartitions { needed: 9, partitions: 3 },
                "9 pods are needed and there are 3 partitions, each of which one pod reads; grow the topic, or make each record \
                 cheaper to handle",
            ),
            (
                Reason::HotPartition { partition: "events/3".into(), lag: 900, rate: 50.0 },
                "partition events/3 is 900 records behind and needs more than the 50 records/s of a pod, and only one pod can read \
                 it: more pods would not help; spread its keys, or make each record cheaper to handle",
            ),
            (
                Reason::NoGain { before: 2, pods: 4, consumed: 210.0 },
                "4 pods handle 210 records/s, hardly more than 2 did: what limits them is elsewhere, such as the database; trying \
                 more again later",
            ),
            (
                Reason::NotConsuming { pods: 1 },
                "1 pod is ready and nothing is handled: more would not help; look at the logs of the pods",
            ),
            (
                Reason::NotConsuming { pods: 2 },
                "2 pods are ready and nothing is handled: more would not help; look at the logs of the pods",
            ),
            (Reason::Measuring, "there is a backlog; measuring what one pod handles before there are more"),
            (Reason::PodsStarting { ready: 1, pods: 3 }, "1 of 3 pods are ready; there are no more before those are"),
            (Reason::Applying, "the Deployment does not have this number of pods yet"),
            (Reason::Rebalancing, "the group shares out its partitions; held until that is done"),
            (
                Reason::BrokerMissing,
                "replicas of what is read are missing, and rates mean little while leaders move; held",
            ),
            (Reason::DataMissing, "lag, rates or the group's state are unknown at the moment; held"),
            (
                Reason::Bounds { min: 1, max: 4, partitions: Some(3) },
                "the number has to keep to scaling.min 1, scaling.max 4 and 3 partitions",
            ),
            (
                Reason::Bounds { min: 1, max: 4, partitions: None },
                "the number has to keep to scaling.min 1, scaling.max 4",
            ),
            (Reason::Idle, "nothing was read or written for the whole window; the first record brings a pod back"),
            (Reason::Woken { records: 7 }, "7 records to handle; what they need is measured next"),
        ];
        for (reason, sentence) in cases {
            assert_eq!(reason.message(), sentence, "{}", reason.name());
        }
    }
}
