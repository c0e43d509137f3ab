//! A reading of the lag engine and a Deployment, as what decisions are told.

use k8s_openapi::api::apps::v1::Deployment;
use tidegate_crds::pipeline::Processor;

use super::measure::{Load, Measured};
use crate::lag::{PartitionReading, Reading};

/// What is known of a processor's pods and partitions.
pub fn measured(processor: &Processor, deployment: &Deployment, reading: &Reading) -> Measured {
    let pods = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let waiting = if processor.retry_topics().is_empty() {
        reading.lag
    } else {
        reading.lag.zip(reading.retry).map(|(lag, retry)| lag.saturating_add(retry))
    };
    let loads: Option<Vec<Load>> = reading.partitions.iter().map(load).collect();
    Measured {
        pods,
        ready: ready.min(pods),
        stable: stable(reading),
        replicated: reading.under_replicated.is_none_or(|partitions| partitions == 0),
        waiting,
        partitions: partitions(reading),
        loads: loads.filter(|loads| !loads.is_empty()),
    }
}

/// Partitions that the group reads, where that is known.
pub fn partitions(reading: &Reading) -> Option<i32> {
    i32::try_from(reading.partitions.len()).ok().filter(|count| *count > 0)
}

/// A group without members is one that is about to have some: its pods are ready, or will be.
fn stable(reading: &Reading) -> Option<bool> {
    match reading.state.as_deref() {
        Some(state) => Some(state == "Stable"),
        None => reading.members.map(|_| false),
    }
}

fn load(partition: &PartitionReading) -> Option<Load> {
    // Where nothing was ever committed nothing was handled.
    let never = partition.committed.is_none().then_some(0.0);
    Some(Load {
        name: format!("{}/{}", partition.topic, partition.partition),
        lag: partition.lag?,
        age: partition.lag_seconds,
        produced: partition.produced_rate?.max(0.0),
        consumed: partition.consumed_rate.or(never)?.max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn processor(retry: Value) -> Processor {
        serde_json::from_value(json!({
            "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
            "consumes": {"topics": ["events"], "group": "ledger"}, "retry": retry, "deadLetter": {"topic": "dlq"},
            "scaling": {"max": 4},
        }))
        .unwrap()
    }

    fn deployment(pods: i32, ready: i32) -> Deployment {
        serde_json::from_value(json!({
            "spec": {"replicas": pods, "selector": {}, "template": {}}, "status": {"readyReplicas": ready},
        }))
        .unwrap()
    }

    fn partition(lag: Option<i64>, committed: Option<i64>, rate: Option<f64>) -> PartitionReading {
        PartitionReading {
            topic: "events".into(),
            partition: 0,
            committed,
            log_start: Some(0),
            stable_end: Some(100),
            lag,
            lag_seconds: Some(1.0),
            consumed_rate: rate,
            produced_rate: Some(5.0),
            stuck_for: None,
        }
    }

    fn reading(partitions: Vec<PartitionReading>) -> Reading {
        Reading { state: Some("Stable".into()), members: Some(1), lag: Some(3), partitions, ..Reading::default() }
    }

    #[test]
    fn one_unknown_partition_makes_the_whole_unknown_and_one_without_a_commit_handled_nothing() {
        let loads = |partitions| measured(&processor(Value::Null), &deployment(1, 1), &reading(partitions)).loads;
        let known = || partition(Some(3), Some(97), Some(5.0));
        assert_eq!(loads(vec![known(), known()]).map(|loads| loads.len()), Some(2));
        assert_eq!(loads(vec![known(), partition(None, Some(97), Some(5.0))]), None);
        assert_eq!(loads(vec![known(), partition(Some(3), Some(97), None)]), None, "committed, and no rate yet");
        assert_eq!(loads(vec![partition(Some(3), None, None)]).map(|loads| loads[0].consumed), Some(0.0));
        assert_eq!(loads(vec![]), None, "no partitions are no measurement");
    }

    #[test]
    fn what_waits_is_unknown_while_the_retry_topics_are() {
        let retrying = processor(json!({"mode": "Topic"}));
        let waiting = |processor: &Processor, retry| {
            let reading = Reading { retry, ..reading(vec![]) };
            measured(processor, &deployment(1, 1), &reading).waiting
        };
        assert_eq!(waiting(&retrying, Some(2)), Some(5));
        assert_eq!(waiting(&retrying, None), None);
        assert_eq!(waiting(&processor(Value::Null), None), Some(3));
    }

    #[test]
    fn only_a_stable_group_stands_still() {
        let of = |state: Option<&str>, members| {
            stable(&Reading { state: state.map(str::to_owned), members, ..Reading::default() })
        };
        assert_eq!(
            [of(Some("Stable"), Some(1)), of(Some("Empty"), Some(0)), of(None, Some(0)), of(None, None)],
            [Some(true), Some(false), Some(false), None]
        );
    }
}
