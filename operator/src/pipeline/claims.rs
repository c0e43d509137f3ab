//! What a pipeline uses of a Kafka cluster under a name that only one may use: consumer groups, and what its outbox commits and writes
//! under. Whoever shares a group shares its records, and whoever has another's transactional id fences it. Pure: of several pipelines that
//! claim a name the oldest has it, and the others wait until it goes.

use std::collections::BTreeMap;

use tidegate_crds::{EventPipeline, pipeline::Processor};
use tidegate_settings::{Retry, Run, WalletRole};

use super::resolve::{is_older, named};

/// A claim to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The group, or the group and the beginning of the transactional ids.
    pub name: String,
    /// `consumer group`, or what else it is for, for a sentence.
    pub what: &'static str,
    /// The processor that uses it.
    pub processor: String,
}

/// All names that a pipeline claims.
pub fn claims(pipeline: &EventPipeline) -> Vec<Claim> {
    let mut claims = Vec::new();
    for processor in &pipeline.spec.processors {
        let mut claim = |name: String, what| claims.push(Claim { name, what, processor: processor.name.clone() });
        if let Some(consumes) = &processor.consumes {
            claim(consumes.group.clone(), "consumer group");
            if !processor.retry_topics().is_empty() {
                claim(Retry::group_of(&consumes.group), "group of the retry topics");
            }
        }
    }
    // One for all of a pipeline: its shards are shared out among whoever publishes.
    if let Some(processor) = pipeline.spec.processors.iter().find(|processor| publishes(processor)) {
        let of = |name: &Option<String>| name.clone().unwrap_or_default();
        claims.push(Claim {
            name: format!("kafka-publisher.{}.{}", of(&pipeline.metadata.namespace), of(&pipeline.metadata.name)),
            what: "group and transactional ids of the outbox",
            processor: processor.name.clone(),
        });
    }
    claims
}

fn publishes(processor: &Processor) -> bool {
    match &processor.run {
        Run::Wallet(wallet) => matches!(wallet.role, WalletRole::Commands | WalletRole::Publisher),
        Run::Container(_) => false,
    }
}

/// The names that others have, each with `namespace/pipeline/processor`. `others`: pipelines of the same Kafka cluster.
pub fn held<'a>(
    pipeline: &EventPipeline,
    others: impl IntoIterator<Item = &'a EventPipeline>,
) -> BTreeMap<String, String> {
    let mut held: BTreeMap<String, (&EventPipeline, String)> = BTreeMap::new();
    for other in others.into_iter().filter(|other| is_older(other, pipeline)) {
        for claim in claims(other) {
            let holder = format!("{}/{}", named(&other.metadata), claim.processor);
            let first = held.get(&claim.name).is_none_or(|(before, _)| is_older(other, before));
            if first {
                held.insert(claim.name, (other, holder));
            }
        }
    }
    held.into_iter().map(|(name, (_, holder))| (name, holder)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipeline(namespace: &str, name: &str, age: i64, group: &str) -> EventPipeline {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {
                "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"),
                "creationTimestamp": jiff::Timestamp::from_second(1_000 - age).unwrap().to_string(),
            },
            "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": [
                {"name": "commands", "run": {"wallet": {"role": "Commands"}}, "produces": ["events"]},
                {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
                 "consumes": {"topics": ["events"], "group": group},
                 "retry": {"attempts": 3}, "deadLetter": {"topic": "dlq"}},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pipeline_claims_its_groups_and_its_outbox() {
        let names: Vec<String> =
            claims(&pipeline("bank", "wallet", 1, "ledger")).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["ledger", "ledger.retry", "kafka-publisher.bank.wallet"]);
        let mut in_place = pipeline("bank", "wallet", 1, "ledger");
        in_place.spec.processors[1].retry = None;
        assert_eq!(claims(&in_place).len(), 2, "nothing is committed about retries that there are not");
    }

    #[test]
    fn the_oldest_has_a_name_and_the_next_one_when_it_goes() {
        let (old, middle, young) = (
            pipeline("bank", "old", 3, "ledger"),
            pipeline("shop", "middle", 2, "ledger"),
            pipeline("bank", "young", 1, "ledger"),
        );
        let going = {
            let mut going = old.clone();
            going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
            going
        };
        for (me, others, holder) in [
            (&old, vec![&middle, &young], None),
            (&middle, vec![&old, &young], Some("bank/old/ledger")),
            (&young, vec![&middle, &old], Some("bank/old/ledger")),
            (&young, vec![&middle], Some("shop/middle/ledger")),
            (&middle, vec![&going, &young], None),
            (&old, vec![], None),
        ] {
            let held = held(me, others);
            assert_eq!(held.get("ledger").map(String::as_str), holder);
            assert_eq!(held.get("ledger.retry").map(String::as_str), holder);
        }
    }

    #[test]
    fn of_the_same_age_one_has_it() {
        let (one, other) = (pipeline("bank", "a", 1, "ledger"), pipeline("bank", "b", 1, "ledger"));
        assert!(held(&one, [&other]).is_empty() != held(&other, [&one]).is_empty());
    }

    #[test]
    fn a_group_may_be_called_as_what_another_uses_without_naming_it() {
        let old = pipeline("bank", "wallet", 2, "ledger");
        for name in ["ledger.retry", "kafka-publisher.bank.wallet"] {
            assert!(held(&pipeline("shop", "orders", 1, name), [&old]).contains_key(name), "{name}");
        }
    }
}
