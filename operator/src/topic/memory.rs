//! What one leadership remembers of each KafkaTopic beside its status: it is lost with the process, and nothing depends on it
//! but how soon and how often things are done.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidegate_crds::{KafkaTopic, KafkaTopicStatus};
use uuid::Uuid;

use super::{
    health::{Debounce, Health},
    plan::{Observation, Plan, Refusal, Remembered},
};
use crate::gateway::Sighting;

/// A plan that Kafka refused: not tried again while it is the same and the brokers are.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What was tried.
    pub plan: Plan,
    /// Live brokers at the time.
    pub brokers: usize,
    /// What Kafka said.
    pub refusal: Refusal,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The status as written last: what is watched may be behind it.
    pub status: Option<KafkaTopicStatus>,
    /// The status differs from what the API server has.
    pub unsaved: bool,
    /// The id under which it was created, if Kafka told, and when.
    pub created: Option<(Option<Uuid>, Instant)>,
    /// Since when it is missing.
    pub missing: Option<Instant>,
    /// What Kafka refused last.
    pub refused: Option<Refused>,
    /// When it was last reported what a growth waits for.
    pub growth_told: Option<Instant>,
    /// Broker health.
    pub health: Debounce,
    /// Attempts in a row that did not end in a state of rest.
    pub attempts: u32,
    /// What was seen when it was last at rest.
    pub handled: Option<u64>,
}

/// All topics, by uid.
#[derive(Debug, Default)]
pub struct TopicMemories(Mutex<HashMap<String, Memory>>);

impl TopicMemories {
    /// Works on one topic's memory.
    pub fn with<R>(&self, uid: &str, work: impl FnOnce(&mut Memory) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(uid) {
            Some(memory) => work(memory),
            None => work(all.entry(uid.to_owned()).or_default()),
        }
    }

    /// Forgets a topic whose resource is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// The status to go by: the one written last, or the one that is watched.
    pub fn status(&self, topic: &KafkaTopic) -> KafkaTopicStatus {
        let uid = topic.metadata.uid.as_deref().unwrap_or_default();
        self.with(uid, |memory| memory.status.clone()).or_else(|| topic.status.clone()).unwrap_or_default()
    }
}

impl Memory {
    /// What the plan is to know of earlier times.
    pub fn remembered(&self, status: &KafkaTopicStatus, now: Instant) -> Remembered {
        let intent = status.intent.clone().unwrap_or_default();
        let owned_keys: BTreeSet<String> = status.config.keys().cloned().chain(intent.config_keys).collect();
        let recorded = status.topic_id.as_deref().and_then(|id| id.parse().ok());
        Remembered {
            topic_id: self.created.and_then(|(id, _)| id).or(recorded),
            owned_keys,
            creating: intent.create,
            created: self.created.map(|(_, at)| now.duration_since(at)),
        }
    }

    /// Takes note of what is seen now: the health to report, and for how long the topic has been missing.
    pub fn note(&mut self, sighting: &Sighting, now: Instant) -> (Health, Duration) {
        match sighting {
            Some((_, health)) => {
                self.missing = None;
                (self.health.settle(*health, now), Duration::ZERO)
            }
            None => (Health::default(), now.duration_since(*self.missing.get_or_insert(now))),
        }
    }
}

/// What was seen, in a number: another number is a reason to look closer.
pub fn digest(observation: Option<&Observation>, health: Health) -> u64 {
    let mut hasher = DefaultHasher::new();
    (observation, health).hash(&mut hasher);
    hasher.finish()
}
