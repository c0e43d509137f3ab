//! Stories of topic configuration.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{ConfigChange, ConfigEntry, ConfigSource, ErrorCode, NewTopic, WriteMode};

use super::world::{World, code, created, eventually};

fn set(pairs: &[(&str, &str)]) -> ConfigChange {
    let set = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ConfigChange { set, reset: BTreeSet::new() }
}

fn reset(keys: &[&str]) -> ConfigChange {
    ConfigChange { set: BTreeMap::new(), reset: keys.iter().map(|key| (*key).to_owned()).collect() }
}

async fn alter(
    world: &dyn World,
    name: &str,
    change: ConfigChange,
    mode: WriteMode,
) -> Result<(), tidegate_kafka::AdminError> {
    let changes = BTreeMap::from([(name.to_owned(), change)]);
    world.admin().alter_configs(&changes, mode).await.remove(name).expect("an outcome")
}

async fn entry(world: &dyn World, name: &str, key: &str) -> ConfigEntry {
    let described = world.admin().describe_configs(&[name.to_owned()]).await.remove(name).expect("an outcome");
    described.expect("the topic is known").remove(key).expect("the key is known")
}

/// Waits until the broker that is asked has heard of a change.
async fn becomes(world: &dyn World, name: &str, key: &str, value: &str, source: impl Fn(ConfigSource) -> bool) {
    eventually(&format!("{key} = {value}"), || async {
        let entry = entry(world, name, key).await;
        if entry.value.as_deref() == Some(value) && source(entry.source) { Ok(()) } else { Err(format!("{entry:?}")) }
    })
    .await;
}

fn own(source: ConfigSource) -> bool {
    source == ConfigSource::Topic
}

fn inherited(source: ConfigSource) -> bool {
    source != ConfigSource::Topic
}

pub async fn a_value_that_is_set_reads_back_and_resets_to_what_it_was(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3).config("cleanup.policy", "compact")).await;
    let default = entry(world, &name, "retention.ms").await;
    assert!(inherited(default.source) && !default.read_only && !default.sensitive, "{default:?}");
    let default = default.value.expect("retention has a default");

    let change = set(&[("retention.ms", "7200000"), ("max.message.bytes", "65536")]);
    assert_eq!(alter(world, &name, change, WriteMode::Apply).await, Ok(()));
    becomes(world, &name, "retention.ms", "7200000", own).await;
    becomes(world, &name, "max.message.bytes", "65536", own).await;
    assert_eq!(
        entry(world, &name, "cleanup.policy").await.value.as_deref(),
        Some("compact"),
        "other keys are left alone"
    );

    let change = ConfigChange { set: set(&[("max.message.bytes", "131072")]).set, ..reset(&["retention.ms"]) };
    assert_eq!(alter(world, &name, change, WriteMode::Apply).await, Ok(()));
    becomes(world, &name, "retention.ms", &default, inherited).await;
    becomes(world, &name, "max.message.bytes", "131072", own).await;

    assert_eq!(
        alter(world, &name, reset(&["retention.ms"]), WriteMode::Apply).await,
        Ok(()),
        "a second reset is no error"
    );
}

pub async fn a_change_with_one_bad_key_changes_nothing(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3)).await;
    for (key, value, words) in [
        ("retention.weeks", "1", "Unknown topic config name: retention.weeks"),
        ("min.insync.replicas", "0", "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1"),
        (
            "min.insync.replicas",
            "two",
            "Invalid value two for configuration min.insync.replicas: Not a number of type INT",
        ),
        (
            "cleanup.policy",
            "shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "preallocate",
            "maybe",
            "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
        ),
        ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
    ] {
        let outcome = alter(world, &name, set(&[("retention.ms", "7200000"), (key, value)]), WriteMode::Apply).await;

        assert_eq!(code(&outcome), ErrorCode::INVALID_CONFIG, "{key}={value}: {outcome:?}");
        assert!(outcome.as_ref().is_err_and(|error| error.message().contains(words)), "{outcome:?}");
    }
    // Kafka applies a resource's keys together; a later change that is accepted shows that the bad ones left no trace.
    assert_eq!(alter(world, &name, set(&[("segment.ms", "3600000")]), WriteMode::Apply).await, Ok(()));
    becomes(world, &name, "segment.ms", "3600000", own).await;
    assert!(inherited(entry(world, &name, "retention.ms").await.source));
}

pub async fn validating_a_change_changes_nothing(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3)).await;

    assert_eq!(alter(world, &name, set(&[("retention.ms", "7200000")]), WriteMode::ValidateOnly).await, Ok(()));
    let refused = alter(world, &name, set(&[("retention.ms", "-5")]), WriteMode::ValidateOnly).await;

    assert_eq!(code(&refused), ErrorCode::INVALID_CONFIG);
    assert_eq!(alter(world, &name, set(&[("segment.ms", "3600000")]), WriteMode::Apply).await, Ok(()));
    becomes(world, &name, "segment.ms", "3600000", own).await;
    assert!(inherited(entry(world, &name, "retention.ms").await.source));
}

pub async fn a_key_that_is_set_and_reset_at_once_is_refused(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3)).await;
    let both = ConfigChange { set: set(&[("retention.ms", "7200000")]).set, ..reset(&["retention.ms"]) };

    let outcome = alter(world, &name, both, WriteMode::Apply).await;

    assert_eq!(code(&outcome), ErrorCode::INVALID_REQUEST);
}

pub async fn changes_of_a_batch_fail_one_by_one(world: &dyn World) {
    let (good, bad, missing) = (world.name("good"), world.name("other"), world.name("none"));
    created(world, NewTopic::new(&good, 1, 3)).await;
    created(world, NewTopic::new(&bad, 1, 3)).await;
    let changes = BTreeMap::from([
        (good.clone(), set(&[("retention.ms", "7200000")])),
        (bad.clone(), set(&[("retention.weeks", "1")])),
        (missing.clone(), set(&[("retention.ms", "7200000")])),
    ]);

    let outcomes = world.admin().alter_configs(&changes, WriteMode::Apply).await;

    assert_eq!(outcomes[&good], Ok(()));
    assert_eq!(code(&outcomes[&bad]), ErrorCode::INVALID_CONFIG);
    assert_eq!(code(&outcomes[&missing]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    becomes(world, &good, "retention.ms", "7200000", own).await;
}
