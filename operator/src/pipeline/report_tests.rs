//! Statuses, from what was seen.

use serde_json::json;
use tidegate_crds::pipeline::Processor;

use super::*;

fn pipeline() -> EventPipeline {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank", "generation": 3},
        "spec": {
            "kafka": {"user": {"secretRef": {"name": "kafka"}}},
            "processors": [
                {"name": "commands", "run": {"wallet": {"role": "Commands"}}},
                {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
                 "consumes": {"topics": ["events"], "group": "ledger"}},
            ],
        },
    }))
    .unwrap()
}

fn deployment(replicas: i32, ready: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"generation": 2}, "spec": {"replicas": replicas, "selector": {}, "template": {}},
        "status": {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready},
    }))
    .unwrap()
}

fn processor(at: usize) -> Processor {
    pipeline().spec.processors[at].clone()
}

fn reading(lag: Option<i64>, members: i32) -> Option<Reading> {
    let lag_seconds = lag.map(|lag| lag as f64 / 2.0);
    Some(Reading { state: Some("Stable".into()), members: Some(members), lag, lag_seconds, ..Reading::default() })
}

fn views(ledger: Option<Reading>) -> Vec<View> {
    vec![
        view(&processor(0), Some(&deployment(2, 2)), Some("2"), None, None),
        view(&processor(1), Some(&deployment(1, 1)), Some("2"), ledger.as_ref(), None),
    ]
}

fn report(outcome: &Outcome, views: &[View]) -> EventPipelineStatus {
    let now = Timestamp::from_second(1).unwrap();
    status(&pipeline(), &EventPipelineStatus::default(), outcome, views, None, now)
}

fn conditions(status: &EventPipelineStatus) -> Vec<String> {
    status.conditions.iter().map(|one| format!("{}={}:{}", one.type_, one.status, one.reason)).collect()
}

#[test]
fn a_pipeline_that_runs_is_ready_and_healthy_in_one_line() {
    let status = report(&Outcome::Applied(vec![]), &views(reading(Some(7), 1)));
    assert_eq!(conditions(&status), ["Ready=True:Running", "Healthy=True:MembersPresent"]);
    assert_eq!(
        status.summary,
        Some(PipelineSummary { ready: "2/2".into(), lag_records: Some(7), lag_seconds: Some(4), ..Default::default() })
    );
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn what_runs_and_could_be_better_is_ready_and_says_so() {
    let caveat = Outcome::Applied(vec!["dead-letter topic dlq is small".to_owned()]);
    let status = report(&caveat, &views(reading(Some(7), 1)));
    assert_eq!(conditions(&status)[0], "Ready=True:Running");
    assert_eq!(status.conditions[0].message, "2 processors run as the spec says; dead-letter topic dlq is small");
}

#[test]
fn unknown_lag_is_absent_not_zero() {
    for unknown in [None, reading(None, 1)] {
        let status = report(&Outcome::Applied(vec![]), &views(unknown));
        assert_eq!(status.summary.as_ref().unwrap().lag_records, None);
        let text = serde_json::to_string(&status).unwrap();
        assert!(!text.contains("lagRecords") && !text.contains("lagSeconds") && !text.contains("lagTrend"), "{text}");
    }
}

#[test]
fn pods_that_are_on_their_way_are_counted_in_the_message() {
    let mut views = views(reading(Some(0), 1));
    views[1] = view(&processor(1), Some(&deployment(2, 1)), Some("2"), None, None);
    let status = report(&Outcome::Applied(vec![]), &views);
    assert_eq!(conditions(&status), ["Ready=False:RollingOut", "Reconciling=True:RollingOut"]);
    assert_eq!(status.conditions[0].message, "ledger has 1 of 2 pods ready");
    assert_eq!(status.summary.unwrap().ready, "1/2");
}

#[test]
fn a_deployment_as_it_was_before_the_last_apply_proves_nothing() {
    assert!(view(&processor(0), Some(&deployment(1, 1)), Some("2"), None, None).settled);
    assert!(!view(&processor(0), Some(&deployment(1, 1)), Some("3"), None, None).settled);
}

#[test]
fn kubernetes_giving_up_is_told_in_its_words_with_where_to_look() {
    let mut stuck = deployment(1, 0);
    stuck.status.as_mut().unwrap().conditions = Some(vec![
        serde_json::from_value(
            json!({"type": "Progressing", "status": "False", "message": "has timed out progressing"}),
        )
        .unwrap(),
    ]);
    let mut views = views(None);
    views[1] = view(&processor(1), Some(&stuck), Some("2"), None, None);
    let status = report(&Outcome::Applied(vec![]), &views);
    assert_eq!(conditions(&status)[0], "Ready=False:NotProgressing");
    let message = &status.conditions[0].message;
    assert!(
        message.contains("has timed out progressing") && message.contains("kubectl -n bank describe pods"),
        "{message}"
    );
}

#[test]
fn a_refusal_stalls_and_the_running_pods_are_still_shown() {
    let refusal = Refusal::new("SecretMissing", "there is no Secret kafka");
    let status = report(&Outcome::Refused(refusal), &views(reading(Some(1), 1)));
    assert_eq!(conditions(&status), ["Ready=False:SecretMissing", "Stalled=True:SecretMissing"]);
    assert_eq!(status.summary.unwrap().ready, "2/2");
}

#[test]
fn ready_pods_in_an_empty_group_are_not_healthy() {
    let status = report(&Outcome::Applied(vec![]), &views(reading(Some(9), 0)));
    assert_eq!(conditions(&status), ["Ready=True:Running", "Healthy=False:GroupEmpty"]);
}

#[test]
fn suspended_is_what_the_spec_says_and_so_ready() {
    let mut pipeline = pipeline();
    pipeline.spec.suspend = Some(true);
    let views = [view(&processor(1), Some(&deployment(0, 0)), None, None, Some(4))];
    let now = Timestamp::from_second(1).unwrap();
    let status = status(&pipeline, &EventPipelineStatus::default(), &Outcome::Applied(vec![]), &views, None, now);
    assert_eq!(conditions(&status), ["Ready=True:Suspended"]);
    assert_eq!(status.summary.unwrap().ready, "0/1");
    assert_eq!(status.processors[0].replicas_before_suspend, Some(4));
}

fn failing(name: &str, retry: serde_json::Value, dead_letters: &str) -> Processor {
    serde_json::from_value(json!({
        "name": name, "run": {"wallet": {"role": "LedgerProjector"}},
        "consumes": {"topics": ["events"], "group": name}, "retry": retry, "deadLetter": {"topic": dead_letters},
    }))
    .unwrap()
}

#[test]
fn what_waits_is_added_up_and_a_shared_dead_letter_topic_counts_once() {
    let mut pipeline = pipeline();
    pipeline.spec.processors.extend([
        failing("one", json!({}), "shared"),
        failing("two", json!({}), "shared"),
        failing("three", json!({"mode": "InPlace"}), "own"),
    ]);
    let read = |retry, dead_letters| Some(Reading { retry, dead_letters, ..Reading::default() });
    let report = |readings: [Option<Reading>; 3]| {
        let lines: Vec<View> = pipeline.spec.processors[2..]
            .iter()
            .zip(readings)
            .map(|(processor, reading)| view(processor, None, None, reading.as_ref(), None))
            .collect();
        let now = Timestamp::from_second(1).unwrap();
        status(&pipeline, &EventPipelineStatus::default(), &Outcome::Applied(vec![]), &lines, None, now)
    };
    let known = report([read(Some(3), Some(5)), read(Some(4), Some(5)), read(Some(9), Some(2))]);
    let summary = known.summary.unwrap();
    assert_eq!((summary.retry_depth, summary.dead_letters), (Some(7), Some(7)));
    assert_eq!(known.processors[0].retry_depth, Some(3));
    assert_eq!(known.processors[2].retry_depth, None, "in place nothing waits in a topic");

    let unknown = report([read(None, Some(5)), read(Some(4), Some(5)), read(None, None)]);
    let summary = unknown.summary.unwrap();
    assert_eq!((summary.retry_depth, summary.dead_letters), (None, None), "not 0");
}

#[test]
fn where_nothing_is_tried_again_nothing_is_said_of_it() {
    let status = report(&Outcome::Applied(vec![]), &views(reading(Some(7), 1)));
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("retryDepth") && !text.contains("deadLetters"), "{text}");
}

#[test]
fn a_processor_that_sleeps_because_nothing_is_to_do_is_fine() {
    let mut views = views(reading(Some(0), 0));
    views[1] = view(&processor(1), Some(&deployment(0, 0)), Some("2"), reading(Some(0), 0).as_ref(), None);
    assert_eq!(report(&Outcome::Applied(vec![]), &views).summary.unwrap().ready, "1/2", "stopped by hand");
    views[1].line.scaling = Some(ScalingStatus { reason: "Idle".into(), ..ScalingStatus::default() });
    let status = report(&Outcome::Applied(vec![]), &views);
    assert_eq!(status.summary.as_ref().unwrap().ready, "2/2");
    assert_eq!(conditions(&status), ["Ready=True:Running", "Healthy=True:MembersPresent"]);
}

#[test]
fn another_number_is_told_and_the_first_is_not() {
    let at = |desired: Option<i32>| {
        let mut status = report(&Outcome::Applied(vec![]), &views(None));
        status.processors[1].scaling = desired.map(|desired| ScalingStatus {
            desired,
            message: format!("{desired} pods"),
            ..ScalingStatus::default()
        });
        status
    };
    let told = |before, after| {
        let after = at(after);
        rescaled(&at(before), &after)
            .iter()
            .map(|(name, scaling)| format!("{name}: {}", scaling.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(Some(1), Some(4)), ["ledger: 4 pods"]);
    assert_eq!(
        [told(None, Some(4)), told(Some(4), Some(4)), told(Some(4), None)],
        [vec![], vec![], Vec::<String>::new()]
    );
}
