//! The alerts of one processor that consumes: how far behind it is, what holds it up, what it loses.
//!
//! Series are aggregated over whatever labels scraping adds, so that a change of the operator's leader, which is another pod, neither
//! doubles nor breaks them. A gauge of -1 never comes from the operator; the rules take one for what it is, an unknown.

use std::{collections::BTreeMap, time::Duration};

use tidegate_crds::{
    EventPipeline,
    pipeline::{AlertName, Lag, Processor},
};

use super::{
    INTERVAL_SECONDS,
    rule::{Draft, Group, Rule, Shared, number, seconds},
};
use crate::config::AlertsConfig;

/// 1 where the lag is above the objective, 0 where it is not.
const OVER_OBJECTIVE: &str = "tidegate:processor_lag_over_objective:bool";
/// Labels of a processor's series.
const BY: &str = "by (namespace, pipeline, processor)";
/// And of a topic's.
const BY_TOPIC: &str = "by (namespace, pipeline, processor, topic)";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A burn rate: so much of the budget within a window, and still at it within the short one.
struct Burn {
    name: &'static str,
    long: Duration,
    short: Duration,
    /// The share of the whole budget that a long window may take.
    share: f64,
}

/// Of a window of 30 days: 14.4 and 6 times the rate at which the budget would just last.
const BURNS: [Burn; 2] = [
    Burn { name: "fast", long: HOUR, short: Duration::from_secs(5 * 60), share: 0.02 },
    Burn { name: "slow", long: Duration::from_secs(6 * 3600), short: Duration::from_secs(30 * 60), share: 0.05 },
];

/// The group of a processor; none for one that does not consume.
pub fn group(pipeline: &EventPipeline, processor: &Processor, config: &AlertsConfig) -> Option<Group> {
    let consumes = processor.consumes.as_ref()?;
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let (namespace, name) = (of(&pipeline.metadata.namespace), of(&pipeline.metadata.name));
    let lag = processor.lag();
    let alert = lag.alert.clone().unwrap_or_default();
    let mut labels = alert.labels.unwrap_or_default();
    let own = [("namespace", namespace.as_str()), ("pipeline", &name), ("processor", &processor.name)];
    let own = BTreeMap::from(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels.extend(own.clone());
    let one = One {
        select: format!(r#"namespace="{namespace}",pipeline="{name}",processor="{}""#, processor.name),
        full_name: format!("{namespace}/{name}/{}", processor.name),
        consumer: &consumes.group,
        labels: own,
        shared: Shared {
            labels,
            severities: (
                alert.severity.as_deref().unwrap_or(&config.severity),
                alert.minor_severity.as_deref().unwrap_or(&config.minor_severity),
            ),
            runbook_url: &config.runbook_url,
        },
        lag,
    };
    // Who stops a processor knows that it falls behind; what is lost meanwhile is lost all the same.
    let stopped = pipeline.spec.suspend() || processor.replicas == Some(0);
    Some(Group {
        name: format!("tidegate/{}", one.full_name),
        interval: format!("{INTERVAL_SECONDS}s"),
        rules: one.rules(stopped),
    })
}

struct One<'a> {
    /// The labels of its series.
    select: String,
    /// `namespace/pipeline/processor`.
    full_name: String,
    /// The consumer group.
    consumer: &'a str,
    /// The labels of its series, as a rule has them.
    labels: BTreeMap<String, String>,
    shared: Shared<'a>,
    lag: Lag,
}

impl One<'_> {
    fn rules(&self, stopped: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        if !stopped {
            if self.lag.wants(AlertName::LagBudgetBurn) {
                rules.push(self.over_objective());
            }
            rules.extend(self.alert(AlertName::PipelineLagHigh, Self::lag_high));
            for burn in &BURNS {
                let rule = self.alert(AlertName::LagBudgetBurn, |one| one.budget_burn(burn));
                rules.extend(rule.map(|mut rule| {
                    rule.labels.insert("burn".to_owned(), burn.name.to_owned());
                    rule
                }));
            }
            rules.extend(self.alert(AlertName::PartitionStuck, Self::partition_stuck));
            rules.extend(self.alert(AlertName::ConsumerGroupEmptyWithLag, Self::group_empty));
            rules.extend(self.alert(AlertName::RetryStorm, Self::retry_storm));
            rules.extend(self.alert(AlertName::RebalanceLoop, Self::rebalance_loop));
            rules.extend(self.alert(AlertName::ScalingSaturated, Self::scaling_saturated));
        }
        rules.extend(self.alert(AlertName::RetentionRisk, Self::retention_risk));
        rules.extend(self.alert(AlertName::DataLost, Self::data_lost));
        rules.extend(self.alert(AlertName::LagSignalAbsent, Self::signal_absent));
        rules
    }

    fn alert(&self, name: AlertName, draft: impl FnOnce(&Self) -> Draft) -> Option<Rule> {
        self.lag.wants(name).then(|| self.shared.alert(&name.to_string(), draft(self)))
    }

    /// A series of this processor.
    fn series(&self, name: &str) -> String {
        format!("{name}{{{}}}", self.select)
    }

    /// The greatest of a gauge's series, whichever pod shows it.
    fn max(&self, name: &str) -> String {
        format!("max {BY} ({})", self.series(name))
    }

    /// How often a counter was raised within a window.
    fn increase(&self, by: &str, name: &str, window: &str) -> String {
        format!("sum {by} (increase({}[{window}]))", self.series(name))
    }

    /// Twice the objective, within bounds: what holds for so long is not a hiccup.
    fn patience(&self, least: Duration, most: Duration) -> Duration {
        (self.lag.objective() * 2).clamp(least, most)
    }

    fn objective(&self) -> String {
        number(self.lag.objective().as_secs_f64())
    }

    fn over_objective(&self) -> Rule {
        Rule {
            record: Some(OVER_OBJECTIVE.to_owned()),
            expr: format!("{} > bool {}", self.max("tidegate_processor_lag_seconds"), self.objective()),
            labels: self.labels.clone(),
            ..Rule::default()
        }
    }

    fn lag_high(&self) -> Draft {
        Draft {
            expr: format!("{} > {}", self.max("tidegate_processor_lag_seconds"), self.objective()),
            hold: self.patience(Duration::from_secs(20), 15 * MINUTE),
            minor: false,
            summary: format!("{} is {{{{ $value | humanizeDuration }}}} behind", self.full_name),
            description: format!(
                "The oldest record that consumer group {} has not processed is {{{{ $value | humanizeDuration }}}} old; the objective \
                 is {}.",
                self.consumer,
                seconds(self.lag.objective())
            ),
        }
    }

    /// Counted over the whole window, however short a time there have been samples: a processor of five minutes that reads a topic from its
    /// beginning has not used up an hour's budget.
    fn budget_burn(&self, burn: &Burn) -> Draft {
        let rate = burn.share * self.lag.window().as_secs_f64() / burn.long.as_secs_f64();
        let threshold = number(rate * self.lag.target().rest());
        let ratio = |window: Duration| {
            let evaluations = window.as_secs() / INTERVAL_SECONDS;
            let series = self.series(OVER_OBJECTIVE);
            format!("sum_over_time({series}[{}]) / {evaluations} > {threshold}", seconds(window))
        };
        let (long, window) = (seconds(burn.long), seconds(self.lag.window()));
        Draft {
            expr: format!("{}\nand\n{}", ratio(burn.long), ratio(burn.short)),
            hold: Duration::ZERO,
            minor: false,
            summary: format!("{} uses up its lag budget {} times too fast", self.full_name, number(rate)),
            description: format!(
                "For {{{{ $value | humanizePercentage }}}} of the last {long} the lag of consumer group {} was above its objective of {}. \
                 The target is {} of the time over {window}; {}% of that budget is gone in {long}, and it goes on.",
                self.consumer,
                seconds(self.lag.objective()),
                self.lag.target(),
                number(burn.share * 100.0)
            ),
        }
    }

    /// By partition: the sum of a group that drains hides one that stands. Without members all stand, which is another alert.
    fn partition_stuck(&self) -> Draft {
        let patience = self.patience(2 * MINUTE, 30 * MINUTE);
        Draft {
            expr: format!(
                "max by (namespace, pipeline, processor, topic, partition) ({}) > {}\n\
                 unless on (namespace, pipeline, processor)\n\
                 {} == 0",
                self.series("tidegate_processor_partition_stuck_seconds"),
                patience.as_secs(),
                self.max("tidegate_processor_group_members")
            ),
            hold: Duration::ZERO,
            minor: false,
            summary: format!("{} stands still in {{{{ $labels.topic }}}}/{{{{ $labels.partition }}}}", self.full_name),
            description: format!(
                "Consumer group {} has members, and records wait in partition {{{{ $labels.partition }}}} of {{{{ $labels.topic }}}}, but \
                 its offset has not moved for {{{{ $value | humanizeDuration }}}}.",
                self.consumer
            ),
        }
    }

    fn group_empty(&self) -> Draft {
        Draft {
            expr: format!(
                "{} > 0\nand\n{} == 0",
                self.max("tidegate_processor_lag_records"),
                self.max("tidegate_processor_group_members")
            ),
            hold: 2 * MINUTE,
            minor: false,
            summary: format!("Nobody reads for {}", self.full_name),
            description: format!(
                "Consumer group {} has no members, and {{{{ $value | humanize }}}} records wait for it.",
                self.consumer
            ),
        }
    }

    /// Age of the oldest record and what is left make up the retention: less than a fifth of it is left.
    fn retention_risk(&self) -> Draft {
        Draft {
            expr: format!(
                "min {BY_TOPIC} ({})\n< 0.25 *\nmax {BY_TOPIC} ({})",
                self.series("tidegate_processor_retention_margin_seconds"),
                self.series("tidegate_processor_partition_lag_seconds")
            ),
            hold: 5 * MINUTE,
            minor: false,
            summary: format!("{} will lose records of {{{{ $labels.topic }}}}", self.full_name),
            description: format!(
                "Kafka deletes the oldest record of {{{{ $labels.topic }}}} that consumer group {} has not processed in \
                 {{{{ $value | humanizeDuration }}}}; more than four fifths of the topic's retention have passed.",
                self.consumer
            ),
        }
    }

    /// A counter that is born with a loss in it has not increased, so its birth counts too.
    fn data_lost(&self) -> Draft {
        let lost = self.series("tidegate_processor_lost_records_total");
        Draft {
            expr: format!(
                "{} > 0\nor\n(sum {BY_TOPIC} ({lost}) unless sum {BY_TOPIC} ({lost} offset 1h)) > 0",
                self.increase(BY_TOPIC, "tidegate_processor_lost_records_total", "1h")
            ),
            hold: Duration::ZERO,
            minor: false,
            summary: format!("{} lost records of {{{{ $labels.topic }}}}", self.full_name),
            description: format!(
                "Within the last hour Kafka deleted about {{{{ $value | humanize }}}} records of {{{{ $labels.topic }}}} before consumer \
                 group {} had processed them.",
                self.consumer
            ),
        }
    }

    /// A few records that wait are what retries are for.
    fn retry_storm(&self) -> Draft {
        let waiting = self.max("tidegate_processor_retry_records");
        Draft {
            expr: format!(
                "{waiting} > 100\nunless\n{waiting} <= 0.1 * {}",
                self.increase(BY, "tidegate_processor_consumed_records_total", "10m")
            ),
            hold: 5 * MINUTE,
            minor: true,
            summary: format!("{{{{ $value | humanize }}}} records of {} wait to be tried again", self.full_name),
            description: format!(
                "{{{{ $value | humanize }}}} records that consumer group {} failed to process wait to be tried again: more than a tenth of \
                 all that it processed in 10 minutes.",
                self.consumer
            ),
        }
    }

    /// A rollout of all pods is not a loop: each member leaves once and joins once.
    fn rebalance_loop(&self) -> Draft {
        let rebalances = |window| self.increase(BY, "tidegate_processor_rebalances_total", window);
        let members = self.series("tidegate_processor_group_members");
        Draft {
            expr: format!(
                "{} > 6 + 3 * max {BY} (max_over_time({members}[15m]))\nand\n{} > 2",
                rebalances("15m"),
                rebalances("5m")
            ),
            hold: 5 * MINUTE,
            minor: true,
            summary: format!("{} keeps rebalancing", self.full_name),
            description: format!(
                "Consumer group {} was reassigned about {{{{ $value | humanize }}}} times in 15 minutes, more than a rollout of all its \
                 members takes, and it goes on.",
                self.consumer
            ),
        }
    }

    fn scaling_saturated(&self) -> Draft {
        Draft {
            expr: format!(
                "{} > {}\nand\n{} == 1",
                self.max("tidegate_processor_lag_seconds"),
                self.objective(),
                self.max("tidegate_processor_scaling_saturated")
            ),
            hold: 10 * MINUTE,
            minor: true,
            summary: format!("{} has all the pods it may have, and is behind", self.full_name),
            description: format!(
                "Consumer group {} is {{{{ $value | humanizeDuration }}}} behind, and more pods would not help or are not allowed.",
                self.consumer
            ),
        }
    }

    fn signal_absent(&self) -> Draft {
        let known = |name| format!("absent({} >= 0)", self.series(name));
        Draft {
            expr: format!(
                "{}\nor\n{}",
                known("tidegate_processor_lag_seconds"),
                known("tidegate_processor_lag_records")
            ),
            hold: 3 * MINUTE,
            minor: false,
            summary: format!("The lag of {} is not known", self.full_name),
            description: format!(
                "For 3 minutes nothing has told how far consumer group {} is behind: none of its other alerts can be relied on.",
                self.consumer
            ),
        }
    }
}
