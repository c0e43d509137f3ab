//! Properties of plan and apply against the in-memory twin of Kafka: whatever is wished and whatever others do to the topic,
//! a few rounds end in a topic as wished with nothing left to do, or in a refusal that changed nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tidegate_crds::topic::{AdoptionPolicy, TopicRole};
use tidegate_kafka::{ConfigChange, KafkaAdmin, NewTopic, WriteMode, twin::Twin};

use super::{
    apply,
    desired::{Desired, same_value},
    plan::{Observation, Observed, Plan, Remembered, plan},
};
use crate::gateway::Gateway;

const TOPIC: &str = "orders";

/// A resource and its topic, without Kubernetes between them.
struct Pair {
    twin: Arc<Twin>,
    gateway: Gateway,
    remembered: Remembered,
}

impl Pair {
    fn new() -> Self {
        let twin = Arc::new(Twin::new());
        Self { gateway: Gateway::new(twin.clone()), twin, remembered: Remembered::default() }
    }

    async fn observe(&self) -> Option<Observation> {
        self.gateway.observe(TOPIC).await.unwrap().map(|(observation, _)| observation)
    }

    /// One reconciliation, as the controller does it; what was planned.
    async fn round(&mut self, desired: &Desired) -> Plan {
        let topic = self.observe().await;
        let observed = topic.clone().map_or(Observed::Missing(Duration::from_secs(3_600)), Observed::Present);
        let planned = plan(desired, &self.remembered, &observed);
        match &planned {
            Plan::Create(new) => {
                self.remembered.creating = true;
                self.remembered.topic_id = None;
                self.remembered.owned_keys.extend(new.configs.keys().cloned());
                let _ = apply::create(&self.gateway, new.clone()).await;
            }
            Plan::Change(change) => {
                self.remembered.topic_id = topic.map(|topic| topic.id);
                self.remembered.owned_keys.extend(change.config.set.keys().cloned());
                let _ = apply::change(&self.gateway, &desired.name, change).await;
            }
            Plan::InSync => {
                self.remembered.creating = false;
                self.remembered.topic_id = topic.map(|topic| topic.id);
                self.remembered.owned_keys = desired.config.keys().cloned().collect();
            }
            Plan::Hold(_) | Plan::Wait(_) | Plan::Refuse(_) => {}
        }
        planned
    }

    async fn settle(&mut self, desired: &Desired) -> Plan {
        let mut planned = self.round(desired).await;
        for _ in 0..5 {
            if !matches!(planned, Plan::Create(_) | Plan::Change(_)) {
                break;
            }
            planned = self.round(desired).await;
        }
        planned
    }
}

fn wish(partitions: i32, config: BTreeMap<String, String>) -> Desired {
    Desired {
        name: TOPIC.into(),
        partitions,
        replicas: 3,
        config,
        adoption: AdoptionPolicy::IfMatching,
        role: TopicRole::Stream,
        paused: false,
        recreate: false,
        reorder_consent: None,
        ordered_consumers: vec![],
    }
}

/// What somebody with a command line does to the topic.
#[derive(Clone, Debug)]
enum Meddling {
    Set(String, String),
    Reset(String),
    Grow(i32),
}

async fn meddle(twin: &Twin, meddling: &Meddling) {
    match meddling {
        Meddling::Set(key, value) => twin.edit_config(TOPIC, key, Some(value)),
        Meddling::Reset(key) => twin.edit_config(TOPIC, key, None),
        Meddling::Grow(total) => {
            let _ = twin.create_partitions(&BTreeMap::from([(TOPIC.to_owned(), *total)]), WriteMode::Apply).await;
        }
    }
}

fn settings() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        (1..5_i64).prop_map(|days| ("retention.ms".to_owned(), (days * 86_400_000).to_string())),
        (1..4_i32).prop_map(|count| ("min.insync.replicas".to_owned(), count.to_string())),
        prop_oneof![Just("delete"), Just("compact"), Just("compact,delete")]
            .prop_map(|policy| ("cleanup.policy".to_owned(), policy.to_owned())),
        (1..4_i32).prop_map(|mib| ("max.message.bytes".to_owned(), (mib * 1_048_576).to_string())),
    ]
}

fn wishes() -> impl Strategy<Value = Desired> {
    (1..12_i32, proptest::collection::vec(settings(), 0..4))
        .prop_map(|(partitions, config)| wish(partitions, config.into_iter().collect()))
}

fn meddlings() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        settings().prop_map(|(key, value)| Meddling::Set(key, value)),
        settings().prop_map(|(key, _)| Meddling::Reset(key)),
        (1..14_i32).prop_map(Meddling::Grow),
    ]
}

/// The topic is as wished, and what others set on it is as they left it.
fn assert_as_wished(desired: &Desired, topic: &Observation) -> Result<(), TestCaseError> {
    prop_assert_eq!(topic.partitions, desired.partitions);
    for (key, value) in &desired.config {
        let setting = &topic.config[key];
        prop_assert!(setting.on_topic && same_value(&setting.value, value), "{key}: {setting:?}");
    }
    Ok(())
}

fn run<F: Future<Output = Result<(), TestCaseError>>>(test: F) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_history_of_wishes_and_meddling_ends_as_wished_or_refused_untouched(
        history in proptest::collection::vec((wishes(), proptest::collection::vec(meddlings(), 0..3)), 1..6)
    ) {
        run(async move {
            let mut pair = Pair::new();
            for (desired, meddling) in history {
                for one in &meddling {
                    meddle(&pair.twin, one).await;
                }
                let before = pair.observe().await;
                match pair.settle(&desired).await {
                    Plan::InSync => {
                        let topic = pair.observe().await.expect("in sync with a topic that exists");
                        assert_as_wished(&desired, &topic)?;
                    }
                    Plan::Refuse(refusal) => {
                        // The one thing that cannot be had here: fewer partitions.
                        prop_assert_eq!(refusal.reason.as_str(), "PartitionsCannotShrink");
                        prop_assert_eq!(pair.observe().await, before);
                    }
                    other => prop_assert!(false, "did not come to rest: {other:?}"),
                }
                // At rest nothing is written.
                let writes = pair.twin.writes();
                pair.round(&desired).await;
                prop_assert_eq!(pair.twin.writes(), writes);
            }
            Ok(())
        })?;
    }

    #[test]
    fn keys_that_were_never_in_the_spec_are_left_alone(
        first in wishes(), second in wishes(), foreign in proptest::collection::vec(settings(), 0..4)
    ) {
        run(async move {
            let mut pair = Pair::new();
            let second = Desired { partitions: first.partitions, ..second };
            pair.settle(&first).await;
            for (key, value) in &foreign {
                if !first.config.contains_key(key) && !second.config.contains_key(key) {
                    pair.twin.edit_config(TOPIC, key, Some(value));
                }
            }
            let before = pair.observe().await.expect("created");
            pair.settle(&second).await;
            let after = pair.observe().await.expect("still there");
            let ours: BTreeSet<&String> = first.config.keys().chain(second.config.keys()).collect();
            for (key, setting) in &before.config {
                if !ours.contains(key) {
                    prop_assert_eq!(&after.config[key], setting, "{}", key);
                }
            }
            for key in first.config.keys().filter(|key| !second.config.contains_key(*key)) {
                prop_assert!(!after.config[key].on_topic, "{key} was taken out and is still set");
            }
            Ok(())
        })?;
    }

    #[test]
    fn paused_never_writes(first in wishes(), second in wishes()) {
        run(async move {
            let mut pair = Pair::new();
            pair.settle(&first).await;
            let writes = pair.twin.writes();
            pair.settle(&Desired { paused: true, ..second }).await;
            prop_assert_eq!(pair.twin.writes(), writes);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn one_refused_part_leaves_the_rest_undone() {
    let mut pair = Pair::new();
    let first = wish(3, BTreeMap::new());
    pair.settle(&first).await;
    let before = pair.observe().await;
    let config =
        BTreeMap::from([("retention.ms".to_owned(), "5".to_owned()), ("no.such.key".to_owned(), "1".to_owned())]);
    let change = super::plan::Change {
        grow_to: Some(5),
        config: ConfigChange { set: config, ..ConfigChange::default() },
        differences: vec![],
    };
    let refused = apply::change(&pair.gateway, TOPIC, &change).await;
    assert!(
        matches!(&refused, Err(apply::ApplyError::Refused(refusal, apply::Extent::Nothing)) if refusal.reason == "InvalidConfig"),
        "{refused:?}"
    );
    assert_eq!(pair.observe().await, before);
}

#[tokio::test]
async fn a_topic_that_exists_unseen_is_no_failure() {
    let pair = Pair::new();
    let new = NewTopic::new(TOPIC, 3, 3);
    assert!(matches!(apply::create(&pair.gateway, new.clone()).await, Ok(apply::Created::Now(Some(_)))));
    assert!(matches!(apply::create(&pair.gateway, new).await, Ok(apply::Created::Before)));
}
