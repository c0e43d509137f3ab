//! What became of an EventPipeline, as its status. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use tidegate_crds::{
    EventPipeline, EventPipelineStatus,
    conditions::{HEALTHY, READY, RECONCILING, STALLED},
    pipeline::{PipelineSummary, Processor, ProcessorStatus, ScalingStatus},
};

use super::{once, replay};
use crate::{
    conditions::{Draft, merge},
    lag::Reading,
    topic::plan::Refusal,
};

/// How a reconciliation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is applied; what a person should know all the same.
    Applied(Vec<String>),
    /// Nothing was applied, and nothing will be until somebody changes something.
    Refused(Refusal),
    /// Nothing was applied yet.
    Waiting(Refusal),
}

/// A processor as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its line in the status.
    pub line: ProcessorStatus,
    /// Every pod that there should be runs the latest settings and is ready.
    pub settled: bool,
    /// Kubernetes gave up waiting for the pods; its words.
    pub stuck: Option<String>,
    /// Why a pod is not ready, where one tells.
    pub trouble: Option<String>,
}

/// What a processor looks like. `mark`: generation of the Deployment as applied last; an older one is not looked at.
pub fn view(
    processor: &Processor,
    deployment: Option<&Deployment>,
    mark: Option<&str>,
    reading: Option<&Reading>,
    before_suspend: Option<i32>,
) -> View {
    let reading = reading.cloned().unwrap_or_default();
    let lag_trend = reading.lag_trend();
    let group = processor.consumes.as_ref().map(|consumes| consumes.group.clone());
    let mut view = View {
        line: ProcessorStatus {
            name: processor.name.clone(),
            group_state: reading.state.filter(|_| group.is_some()),
            members: reading.members.filter(|_| group.is_some()),
            lag_records: reading.lag.filter(|_| group.is_some()),
            lag_seconds: reading.lag_seconds.filter(|_| group.is_some()).map(|seconds| seconds.round() as i64),
            lag_trend: lag_trend.filter(|_| group.is_some()),
            retry_depth: reading.retry.filter(|_| !processor.retry_topics().is_empty()),
            dead_letters: reading.dead_letters.filter(|_| processor.dead_letter.is_some()),
            group,
            replicas_before_suspend: before_suspend,
            ..ProcessorStatus::default()
        },
        ..View::default()
    };
    let Some(deployment) = deployment else { return view };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let generation = deployment.metadata.generation;
    let current = status.observed_generation == generation
        && mark.is_none_or(|mark| generation.is_some_and(|generation| generation.to_string() == mark));
    view.line.replicas = Some(wanted);
    view.line.ready = Some(status.ready_replicas.unwrap_or(0));
    view.settled = current
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.ready_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted;
    view.stuck = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing" && condition.status == "False" && current && !view.settled)
        .map(|condition| condition.message.clone().unwrap_or_default());
    view
}

/// The next status.
pub fn status(
    pipeline: &EventPipeline,
    previous: &EventPipelineStatus,
    outcome: &Outcome,
    views: &[View],
    config_hash: Option<String>,
    now: Timestamp,
) -> EventPipelineStatus {
    let generation = pipeline.metadata.generation;
    let mut drafts = drafts(pipeline, outcome, views);
    drafts.extend(healthy(pipeline, outcome, views));
    let lines: Vec<ProcessorStatus> = views.iter().map(|view| view.line.clone()).collect();
    EventPipelineStatus {
        observed_generation: generation,
        summary: Some(PipelineSummary {
            ready: format!("{}/{}", views.iter().filter(|view| is_ready(view)).count(), views.len()),
            lag_records: over_consuming(&lines, |line| line.lag_records).map(|lags| lags.sum()),
            lag_seconds: over_consuming(&lines, |line| line.lag_seconds).and_then(Iterator::max),
            retry_depth: total_retry(pipeline, &lines),
            dead_letters: total_dead_letters(pipeline, &lines),
        }),
        processors: lines,
        users: previous.users.clone(),
        replays: replay::prune(&previous.replays, &pipeline.spec),
        redrives: once::prune(previous.redrives.clone(), &pipeline.spec, |_| false),
        config_hash: config_hash.or_else(|| previous.config_hash.clone()),
        conditions: merge(&previous.conditions, drafts, generation, now),
    }
}

/// Pods that run, or none where nothing is to do.
fn is_ready(view: &View) -> bool {
    view.settled && (runs(view) || view.line.scaling.as_ref().is_some_and(|scaling| scaling.desired == 0))
}

fn runs(view: &View) -> bool {
    view.settled && view.line.replicas.is_some_and(|replicas| replicas > 0)
}

/// A figure of every processor that consumes; none while one is unknown, or where nothing consumes.
fn over_consuming(
    lines: &[ProcessorStatus],
    figure: impl Fn(&ProcessorStatus) -> Option<i64>,
) -> Option<impl Iterator<Item = i64>> {
    let figures: Option<Vec<i64>> = lines.iter().filter(|line| line.group.is_some()).map(figure).collect();
    figures.filter(|figures| !figures.is_empty()).map(IntoIterator::into_iter)
}

/// Processors whose number of pods was decided anew, with the decision.
pub fn rescaled<'a>(
    previous: &EventPipelineStatus,
    next: &'a EventPipelineStatus,
) -> Vec<(&'a str, &'a ScalingStatus)> {
    let desired = |name: &str| line(&previous.processors, name)?.scaling.as_ref().map(|scaling| scaling.desired);
    let changed = |line: &'a ProcessorStatus| {
        let scaling = line.scaling.as_ref()?;
        desired(&line.name).is_some_and(|before| before != scaling.desired).then_some((line.name.as_str(), scaling))
    };
    next.processors.iter().filter_map(changed).collect()
}

/// All that waits to be tried again; none while one part is unknown, or where nothing is tried again in a topic.
fn total_retry(pipeline: &EventPipeline, lines: &[ProcessorStatus]) -> Option<i64> {
    let mut retrying =
        pipeline.spec.processors.iter().filter(|processor| !processor.retry_topics().is_empty()).peekable();
    retrying.peek()?;
    retrying.map(|processor| line(lines, &processor.name)?.retry_depth).sum()
}

/// All dead letters, those of a shared topic once; none while one part is unknown, or where there is no topic for them.
fn total_dead_letters(pipeline: &EventPipeline, lines: &[ProcessorStatus]) -> Option<i64> {
    let mut topics = BTreeMap::new();
    for processor in &pipeline.spec.processors {
        let Some(dead_letter) = &processor.dead_letter else { continue };
        let held = line(lines, &processor.name).and_then(|line| line.dead_letters);
        topics.insert(dead_letter.topic.as_str(), held);
    }
    if topics.is_empty() { None } else { topics.into_values().sum() }
}

fn line<'a>(lines: &'a [ProcessorStatus], processor: &str) -> Option<&'a ProcessorStatus> {
    lines.iter().find(|line| line.name == processor)
}

fn drafts(pipeline: &EventPipeline, outcome: &Outcome, views: &[View]) -> Vec<Draft> {
    let (reason, message, state) = match outcome {
        Outcome::Refused(refusal) => (refusal.reason.clone(), refusal.message.clone(), STALLED),
        Outcome::Waiting(refusal) => (refusal.reason.clone(), refusal.message.clone(), RECONCILING),
        Outcome::Applied(caveats) => {
            let unsettled: Vec<&View> = views.iter().filter(|view| !view.settled).collect();
            if unsettled.is_empty() {
                let (reason, message) = if pipeline.spec.suspend() {
                    ("Suspended", "every processor is stopped, because spec.suspend is true".to_owned())
                } else {
                    let mut sentences = vec![format!("{} processors run as the spec says", views.len())];
                    sentences.extend(caveats.iter().cloned());
                    ("Running", sentences.join("; "))
                };
                return vec![Draft::yes(READY, reason, message)];
            }
            let stuck = unsettled.iter().any(|view| view.stuck.is_some());
            let reason = if stuck { "NotProgressing" } else { "RollingOut" };
            let words = unsettled.iter().map(|view| in_words(view)).collect::<Vec<_>>().join("; ");
            let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
            let name = pipeline.metadata.name.as_deref().unwrap_or_default();
            let hint = format!("; see kubectl -n {namespace} describe pods -l tidegate.dev/pipeline={name}");
            (reason.to_owned(), words + if stuck { &hint } else { "" }, RECONCILING)
        }
    };
    vec![Draft::no(READY, &reason, &message), Draft::yes(state, reason, message)]
}

fn in_words(view: &View) -> String {
    let line = &view.line;
    let counts = format!("{} has {} of {} pods ready", line.name, line.ready.unwrap_or(0), line.replicas.unwrap_or(0));
    match view.trouble.as_ref().or(view.stuck.as_ref()) {
        Some(message) => format!("{counts}: {message}"),
        None => counts,
    }
}

/// Whether the groups have the members that their pods should be. Nothing is said while pods come and go.
fn healthy(pipeline: &EventPipeline, outcome: &Outcome, views: &[View]) -> Option<Draft> {
    let settled = views.iter().all(|view| view.settled);
    if !matches!(outcome, Outcome::Applied(_)) || !settled || pipeline.spec.suspend() {
        return None;
    }
    let consuming = || views.iter().filter(|view| view.line.group.is_some() && runs(view));
    let empty: Vec<String> = consuming()
        .filter(|view| view.line.members == Some(0))
        .map(|view| format!("group {} of processor {}", view.line.group.as_deref().unwrap_or_default(), view.line.name))
        .collect();
    if !empty.is_empty() {
        let message = format!("{} has no members, though its pods are ready", empty.join(", "));
        return Some(Draft::no(HEALTHY, "GroupEmpty", message));
    }
    if consuming().any(|view| view.line.members.is_none()) {
        return Some(Draft::unknown(HEALTHY, "GroupUnknown", "not every consumer group could be read yet"));
    }
    Some(Draft::yes(HEALTHY, "MembersPresent", "every consumer group has members"))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
