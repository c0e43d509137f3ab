//! The alerts of a pipeline as a whole.

use std::time::Duration;

use tidegate_crds::EventPipeline;

use super::{
    INTERVAL_SECONDS,
    rule::{Draft, Group, Rule, Shared},
};
use crate::config::AlertsConfig;

/// Alerts about a pipeline; docs/runbooks has a page of each.
pub const NAMES: [&str; 2] = ["PipelineNotReady", "DeadLettersGrowing"];

/// The group of a pipeline.
pub fn group(pipeline: &EventPipeline, config: &AlertsConfig) -> Group {
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let (namespace, name) = (of(&pipeline.metadata.namespace), of(&pipeline.metadata.name));
    let one = One {
        select: format!(r#"namespace="{namespace}",pipeline="{name}""#),
        shared: Shared {
            labels: [("namespace".to_owned(), namespace.clone()), ("pipeline".to_owned(), name.clone())].into(),
            severities: (&config.severity, &config.minor_severity),
            runbook_url: &config.runbook_url,
        },
        full_name: format!("{namespace}/{name}"),
    };
    let mut rules = vec![one.no_pod_ready(), one.not_ready()];
    if pipeline.spec.processors.iter().any(|processor| processor.dead_letter.is_some()) {
        rules.push(one.dead_letters_growing());
    }
    Group { name: format!("tidegate/{namespace}/{name}"), interval: format!("{INTERVAL_SECONDS}s"), rules }
}

struct One<'a> {
    select: String,
    shared: Shared<'a>,
    full_name: String,
}

impl One<'_> {
    /// Nothing of a processor runs: what it serves is down.
    fn no_pod_ready(&self) -> Rule {
        let replicas = |kind: &str| {
            let select = &self.select;
            format!(
                r#"max by (namespace, pipeline, processor) (tidegate_processor_replicas{{{select},kind="{kind}"}})"#
            )
        };
        self.shared.alert("PipelineNotReady", Draft {
            expr: format!("{} > 0\nand\n{} == 0", replicas("desired"), replicas("ready")),
            hold: Duration::from_secs(300),
            minor: false,
            summary: format!("No pod of {}, processor {{{{ $labels.processor }}}}, is ready", self.full_name),
            description: format!(
                "Processor {{{{ $labels.processor }}}} of pipeline {} should have {{{{ $value | humanize }}}} pods, and for 5 minutes \
                 none of them has been ready.",
                self.full_name
            ),
        })
    }

    /// Something of the spec is refused, or does not come up.
    fn not_ready(&self) -> Rule {
        let select = &self.select;
        self.shared.alert("PipelineNotReady", Draft {
            expr: format!(
                "max by (namespace, pipeline) (tidegate_pipeline_ready{{{select}}}) == 0\n\
                 or\n\
                 absent(tidegate_pipeline_ready{{{select}}})"
            ),
            hold: Duration::from_secs(900),
            minor: true,
            summary: format!("Pipeline {} is not Ready", self.full_name),
            description: format!(
                "For 15 minutes pipeline {} has not been Ready: its spec is refused, what it needs is missing, or its pods do not \
                 come up. The message of its condition Ready says which.",
                self.full_name
            ),
        })
    }

    /// More dead letters than there were: against the least of the window, because a redrive and the retention take some away, and
    /// because there may be gaps.
    fn dead_letters_growing(&self) -> Rule {
        let select = &self.select;
        let by = "by (namespace, pipeline, topic)";
        self.shared.alert("DeadLettersGrowing", Draft {
            expr: format!(
                "max {by} (tidegate_pipeline_dead_letters{{{select}}})\n\
                 - min {by} (min_over_time(tidegate_pipeline_dead_letters{{{select}}}[10m]))\n\
                 > 0"
            ),
            hold: Duration::ZERO,
            minor: true,
            summary: format!("{{{{ $value | humanize }}}} new dead letters in {{{{ $labels.topic }}}} of {}", self.full_name),
            description: format!(
                "Processors of pipeline {} gave up {{{{ $value | humanize }}}} records within 10 minutes. They are in topic \
                 {{{{ $labels.topic }}}}, and what comes later for their keys waits behind them where order is kept.",
                self.full_name
            ),
        })
    }
}
