//! What a processor's user may do: a function of the processor's spec, and no more than the program asks of Kafka. The table of it is in
//! docs/reference/secrets.md.

use std::collections::BTreeSet;

use tidegate_crds::{EventPipeline, pipeline::Processor};
use tidegate_kafka::{Acl, Operation, PatternType, ResourceType};
use tidegate_settings::{Publisher, Run, WalletRole};

/// Something that a user may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// To what kind of thing.
    pub resource: ResourceType,
    /// How the name is meant.
    pub pattern: PatternType,
    /// The thing's name, or what it begins with.
    pub name: String,
    /// What.
    pub operation: Operation,
}

impl Right {
    /// The right as Kafka keeps it.
    pub fn of(&self, user: &str) -> Acl {
        Acl::allow(user, self.operation, self.resource, self.pattern, &self.name)
    }
}

/// Rights of a user as Kafka keeps them.
pub fn acls(rights: &BTreeSet<Right>, user: &str) -> BTreeSet<Acl> {
    rights.iter().map(|right| right.of(user)).collect()
}

/// What the group of all relays was called once: where a relay looks for the position of one of before.
const SHARED_GROUP: &str = "kafka-publisher";

const LOOK: [Operation; 1] = [Operation::DESCRIBE];
const READ: [Operation; 2] = [Operation::READ, Operation::DESCRIBE];
const WRITE: [Operation; 2] = [Operation::WRITE, Operation::DESCRIBE];
/// What was tried again with success is trimmed, which Kafka calls deleting.
const RETRY: [Operation; 4] = [Operation::READ, Operation::WRITE, Operation::DELETE, Operation::DESCRIBE];

/// All rights of a processor.
pub fn rights(pipeline: &EventPipeline, processor: &Processor) -> BTreeSet<Right> {
    let mut rights = Rights::default();
    let produced = processor.produces.as_deref().unwrap_or_default();
    for topic in produced {
        rights.topic(topic, &WRITE);
    }
    if publishes(processor) {
        let of = |part: &Option<String>| part.clone().unwrap_or_default();
        let relay = format!("kafka-publisher.{}.{}", of(&pipeline.metadata.namespace), of(&pipeline.metadata.name));
        rights.add(ResourceType::TRANSACTIONAL_ID, PatternType::PREFIXED, &format!("{relay}."), &WRITE);
        rights.group(&relay, &READ);
        rights.group(SHARED_GROUP, &LOOK);
        // Positions are kept as offsets of the first topic.
        for topic in produced.iter().take(1) {
            rights.topic(topic, &READ);
        }
    }
    if let Some(consumes) = &processor.consumes {
        let group = &consumes.group;
        consumes.topics.iter().for_each(|topic| rights.topic(topic, &READ));
        rights.group(group, &READ);
        let retry_topics = processor.retry_topics();
        retry_topics.iter().for_each(|(_, topic)| rights.topic(topic, &RETRY));
        if !retry_topics.is_empty() {
            rights.group(&format!("{group}.retry"), &READ);
        }
        if let Some(dead_letter) = &processor.dead_letter {
            rights.topic(&dead_letter.topic, &WRITE);
        }
        // What is put aside or made of a record goes in one transaction with the group's offset.
        if !retry_topics.is_empty() || processor.dead_letter.is_some() || !produced.is_empty() {
            rights.add(ResourceType::TRANSACTIONAL_ID, PatternType::PREFIXED, &format!("{group}."), &WRITE);
        }
    }
    rights.0
}

/// Whether an outbox relay runs in it.
fn publishes(processor: &Processor) -> bool {
    match &processor.run {
        Run::Wallet(wallet) => match wallet.role {
            WalletRole::Publisher => true,
            WalletRole::Commands => wallet.publisher() == Publisher::Embedded,
            WalletRole::LedgerProjector | WalletRole::ReadModelProjector => false,
        },
        Run::Container(_) => false,
    }
}

#[derive(Default)]
struct Rights(BTreeSet<Right>);

impl Rights {
    fn topic(&mut self, name: &str, operations: &[Operation]) {
        self.add(ResourceType::TOPIC, PatternType::LITERAL, name, operations);
    }

    fn group(&mut self, name: &str, operations: &[Operation]) {
        self.add(ResourceType::GROUP, PatternType::LITERAL, name, operations);
    }

    fn add(&mut self, resource: ResourceType, pattern: PatternType, name: &str, operations: &[Operation]) {
        let right = |operation: &Operation| Right { resource, pattern, name: name.to_owned(), operation: *operation };
        self.0.extend(operations.iter().map(right));
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
