//! What happened to a KafkaTopic, as its status. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_crds::{
    KafkaTopicStatus,
    conditions::{ADOPTED, DRIFTED, READY, RECONCILING, STALLED},
};

use super::{
    health::Health,
    plan::{Difference, Observation, Refusal},
};
use crate::conditions::{Draft, is_true, merge};

/// How a reconciliation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    InSync,
    /// As it should be, and paused.
    Paused,
    /// Not as it should be, and paused.
    Held(Vec<Difference>),
    /// On the way.
    Progress(Refusal),
    /// Stopped until something changes.
    Stalled(Refusal),
}

/// What is known besides the outcome.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Generation that was worked on.
    pub generation: Option<i64>,
    /// Name in Kafka.
    pub name: &'a str,
    /// Id of the cluster, when known.
    pub cluster_id: Option<String>,
    /// The topic as it is and whether it is this resource's to report on.
    pub topic: Option<(&'a Observation, Health)>,
    /// Configuration keys that are this resource's.
    pub keys: Vec<String>,
    /// It was there before the resource; taken from the status before when none.
    pub adopted: Option<bool>,
}

/// The next status.
pub fn status(previous: &KafkaTopicStatus, outcome: &Outcome, facts: &Facts<'_>, now: Timestamp) -> KafkaTopicStatus {
    let mut status = previous.clone();
    status.observed_generation = facts.generation;
    status.topic_name = Some(facts.name.to_owned());
    // Done, or given up: whoever was stopped for it goes on.
    if !matches!(outcome, Outcome::Progress(_)) {
        status.growth = None;
    }
    if facts.cluster_id.is_some() {
        status.cluster_id.clone_from(&facts.cluster_id);
    }
    if let Some((topic, health)) = facts.topic {
        status.topic_id = Some(topic.id.to_string());
        status.partitions = Some(topic.partitions);
        status.replicas = Some(topic.replicas);
        status.min_insync_replicas =
            topic.config.get("min.insync.replicas").and_then(|setting| setting.value.parse().ok());
        status.config = facts
            .keys
            .iter()
            .filter_map(|key| Some((key.clone(), topic.config.get(key)?.value.clone())))
            .collect::<BTreeMap<_, _>>();
        status.health = Some(health.into());
        status.intent = None;
    }
    let adopted = facts.adopted.unwrap_or_else(|| is_true(&previous.conditions, ADOPTED));
    let drafts = drafts(outcome, facts, adopted);
    status.conditions = merge(&previous.conditions, drafts, facts.generation, now);
    status
}

fn drafts(outcome: &Outcome, facts: &Facts<'_>, adopted: bool) -> Vec<Draft> {
    let mut drafts = match outcome {
        Outcome::InSync | Outcome::Paused => {
            let paused = if *outcome == Outcome::Paused { "; paused, nothing is changed" } else { "" };
            vec![match facts.topic {
                Some((_, health)) if health.offline > 0 => {
                    Draft::no(READY, "Offline", format!("{} partitions have no leader{paused}", health.offline))
                }
                Some((_, health)) if health.under_min_isr > 0 => Draft::no(
                    READY,
                    "UnderMinIsr",
                    format!("{} partitions have too few replicas in sync to take writes{paused}", health.under_min_isr),
                ),
                _ => Draft::yes(READY, "InSync", format!("topic {} is as the spec says{paused}", facts.name)),
            }]
        }
        Outcome::Held(differences) => {
            let message = format!("paused; spec and topic differ: {}", in_words(differences));
            vec![Draft::no(READY, "Paused", message.clone()), Draft::yes(DRIFTED, "Paused", message)]
        }
        Outcome::Progress(Refusal { reason, message }) => {
            vec![Draft::no(READY, reason, message), Draft::yes(RECONCILING, reason, message)]
        }
        Outcome::Stalled(Refusal { reason, message }) => {
            vec![Draft::no(READY, reason, message), Draft::yes(STALLED, reason, message)]
        }
    };
    if adopted {
        drafts.push(Draft::yes(ADOPTED, "ExistedBefore", "the topic existed before this resource"));
    }
    drafts
}

/// `retention.ms is 9, should be 1000; ...`
pub fn in_words(differences: &[Difference]) -> String {
    let one = |difference: &Difference| {
        let is = difference.is.as_deref().map_or("is not there".to_owned(), |is| format!("is {is}"));
        let should = difference.should.as_deref().unwrap_or("the broker's default");
        format!("{} {is}, should be {should}", difference.what)
    };
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use tidegate_crds::topic::{GrowthStep, TopicGrowth};
    use uuid::Uuid;

    use super::*;
    use crate::topic::plan::Setting;

    fn topic() -> Observation {
        let setting = |value: &str| Setting { value: value.into(), on_topic: true };
        Observation {
            id: Uuid::from_u128(1),
            partitions: 3,
            replicas: 2,
            config: [
                ("retention.ms".to_owned(), setting("1000")),
                ("segment.bytes".to_owned(), setting("7")),
                ("min.insync.replicas".to_owned(), setting("2")),
            ]
            .into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn summary(status: &KafkaTopicStatus) -> Vec<String> {
        status.conditions.iter().map(|one| format!("{}={}:{}", one.type_, one.status, one.reason)).collect()
    }

    #[test]
    fn a_topic_in_sync_is_ready_and_nothing_else_and_shows_what_was_read_back() {
        let topic = topic();
        let facts = Facts {
            generation: Some(2),
            name: "orders",
            cluster_id: Some("c".into()),
            topic: Some((&topic, Health::default())),
            keys: vec!["retention.ms".into()],
            adopted: None,
        };
        let stalled = Outcome::Stalled(Refusal::new("X", "y"));
        let before = status(&KafkaTopicStatus::default(), &stalled, &Facts { topic: None, ..facts.clone() }, at(1));
        assert_eq!(summary(&before), ["Ready=False:X", "Stalled=True:X"]);

        let after = status(&before, &Outcome::InSync, &facts, at(2));
        assert_eq!(summary(&after), ["Ready=True:InSync"]);
        assert_eq!((after.partitions, after.replicas, after.min_insync_replicas), (Some(3), Some(2), Some(2)));
        assert_eq!(after.config, [("retention.ms".to_owned(), "1000".to_owned())].into());
        // Said again a minute later, it is the same status: nothing to write.
        assert_eq!(status(&after, &Outcome::InSync, &facts, at(60)), after);
    }

    #[test]
    fn a_refused_resource_keeps_what_was_known_of_its_topic() {
        let known = KafkaTopicStatus { topic_id: Some("id".into()), partitions: Some(3), ..Default::default() };
        let facts = Facts { generation: Some(3), name: "orders", ..Facts::default() };
        let next = status(&known, &Outcome::Stalled(Refusal::new("TopicLost", "gone")), &facts, at(1));
        assert_eq!((next.topic_id.as_deref(), next.partitions), (Some("id"), Some(3)));
    }

    #[test]
    fn a_growth_stays_on_record_until_it_is_done_or_given_up() {
        let growth = TopicGrowth { to: 6, step: GrowthStep::Draining, producers_stopped: true, since: None };
        let before = KafkaTopicStatus { growth: Some(growth.clone()), ..Default::default() };
        let facts = Facts { name: "orders", ..Facts::default() };
        let grows = |outcome: &Outcome| status(&before, outcome, &facts, at(1)).growth;
        let refusal = || Refusal::new("X", "y");
        assert_eq!(grows(&Outcome::Progress(refusal())), Some(growth));
        for outcome in [Outcome::InSync, Outcome::Paused, Outcome::Held(vec![]), Outcome::Stalled(refusal())] {
            assert_eq!(grows(&outcome), None, "{outcome:?}");
        }
    }

    #[test]
    fn adoption_stays_on_record() {
        let facts = Facts { name: "orders", adopted: Some(true), ..Facts::default() };
        let adopted = status(&KafkaTopicStatus::default(), &Outcome::InSync, &facts, at(1));
        let later = status(&adopted, &Outcome::InSync, &Facts { adopted: None, ..facts }, at(2));
        assert_eq!(summary(&later), ["Ready=True:InSync", "Adopted=True:ExistedBefore"]);
    }

    #[test]
    fn a_topic_that_takes_no_writes_is_not_ready() {
        let topic = topic();
        let sick = Health { under_replicated: 2, offline: 0, under_min_isr: 2 };
        let facts = Facts { name: "orders", topic: Some((&topic, sick)), ..Facts::default() };
        let next = status(&KafkaTopicStatus::default(), &Outcome::InSync, &facts, at(1));
        assert_eq!(summary(&next), ["Ready=False:UnderMinIsr"]);
    }

    #[test]
    fn paused_and_different_is_drifted_with_the_differences_in_words() {
        let difference = Difference { what: "retention.ms".into(), is: Some("9".into()), should: None };
        let facts = Facts { name: "orders", ..Facts::default() };
        let next = status(&KafkaTopicStatus::default(), &Outcome::Held(vec![difference]), &facts, at(1));
        assert_eq!(summary(&next), ["Ready=False:Paused", "Drifted=True:Paused"]);
        assert!(next.conditions[0].message.ends_with("retention.ms is 9, should be the broker's default"));
    }
}
