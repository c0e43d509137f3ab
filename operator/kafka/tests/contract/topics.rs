//! Stories of the cluster and its topics.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{
    AdminError, Api, ConfigChange, ConfigSource, ErrorClass, ErrorCode, NewTopic, OffsetSpec, TopicPartition, WriteMode,
};
use uuid::Uuid;

use super::world::{NUMBERED, World, code, created, described_in_full, eventually, gone, grown};

pub async fn a_cluster_has_an_id_and_live_brokers(world: &dyn World) {
    let cluster = world.admin().cluster().await.expect("the cluster answers");

    assert!(!cluster.id.is_empty());
    let ids: Vec<i32> = cluster.brokers.iter().map(|broker| broker.id).collect();
    assert!(ids.len() >= 3, "{ids:?}");
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), "{ids:?}");
    assert!(cluster.controller.is_some_and(|id| ids.contains(&id)), "{cluster:?}");
    assert!(cluster.brokers.iter().all(|broker| !broker.host.is_empty() && broker.port > 0), "{cluster:?}");
}

pub async fn a_created_topic_is_described_as_it_was_asked_for(world: &dyn World) {
    let name = world.name("good");
    let asked = NewTopic::new(&name, 4, 3).config("retention.ms", "3600000").config("cleanup.policy", "compact");

    let topic = created(world, asked).await;

    assert_eq!(topic.name, name);
    assert!(!topic.internal);
    assert_eq!(topic.partitions.iter().map(|partition| partition.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(topic.replication_factor(), 3);
    let brokers: BTreeSet<i32> =
        world.admin().cluster().await.expect("the cluster answers").brokers.iter().map(|broker| broker.id).collect();
    for partition in &topic.partitions {
        let replicas: BTreeSet<i32> = partition.replicas.iter().copied().collect();
        assert_eq!(replicas.len(), 3, "replicas are on different brokers: {partition:?}");
        assert!(replicas.is_subset(&brokers), "{partition:?}");
        assert_eq!(partition.isr.iter().copied().collect::<BTreeSet<_>>(), replicas, "{partition:?}");
        assert!(partition.leader.is_some_and(|leader| replicas.contains(&leader)), "{partition:?}");
        assert!(partition.leader_epoch.is_some_and(|epoch| epoch >= 0), "{partition:?}");
        assert_eq!(partition.offline, Vec::<i32>::new());
    }
    let configs = world
        .admin()
        .describe_configs(std::slice::from_ref(&name))
        .await
        .remove(&name)
        .expect("an outcome")
        .expect("known");
    let own: BTreeMap<&str, &str> = configs
        .iter()
        .filter(|(_, entry)| entry.source == ConfigSource::Topic)
        .filter_map(|(key, entry)| Some((key.as_str(), entry.value.as_deref()?)))
        .collect();
    assert_eq!(own, BTreeMap::from([("cleanup.policy", "compact"), ("retention.ms", "3600000")]));
}

pub async fn validating_a_new_topic_creates_nothing(world: &dyn World) {
    let name = world.name("none");
    let bad = world.name("replicas");
    let topics = [NewTopic::new(&name, 1, 3), NewTopic::new(&bad, 1, 1000)];

    let outcomes = world.admin().create_topics(&topics, WriteMode::ValidateOnly).await;

    assert_eq!(outcomes[&name], Ok(None));
    assert_eq!(code(&outcomes[&bad]), ErrorCode::INVALID_REPLICATION_FACTOR);
    // Were it created, it could be created no more.
    let again = world.admin().create_topics(&topics[..1], WriteMode::ValidateOnly).await;
    assert_eq!(again[&name], Ok(None));
}

pub async fn the_bad_topics_of_a_batch_are_refused_by_name_and_the_good_one_is_created(world: &dyn World) {
    let (good, existing) = (world.name("good"), world.name("other"));
    created(world, NewTopic::new(&existing, 1, 3)).await;
    let long = format!("{}-{}", world.prefix(), "x".repeat(249));
    let refused = [
        (NewTopic::new(&existing, 1, 3), ErrorCode::TOPIC_ALREADY_EXISTS, "already exists"),
        (NewTopic::new(world.name("replicas"), 1, 1000), ErrorCode::INVALID_REPLICATION_FACTOR, "1000"),
        (NewTopic::new(world.name("no-replicas"), 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR, "larger than 0"),
        (NewTopic::new(world.name("no-partitions"), 0, 3), ErrorCode::INVALID_PARTITIONS, "non-positive"),
        (NewTopic::new(world.name("with space"), 1, 3), ErrorCode::INVALID_TOPIC_EXCEPTION, "ASCII alphanumerics"),
        (NewTopic::new("", 1, 3), ErrorCode::INVALID_TOPIC_EXCEPTION, "Topic name is invalid"),
        (NewTopic::new(long, 1, 3), ErrorCode::INVALID_TOPIC_EXCEPTION, "Topic name is invalid"),
        (
            NewTopic::new(world.name("bad-config"), 1, 3).config("retention.weeks", "1"),
            ErrorCode::INVALID_CONFIG,
            "Unknown topic config name: retention.weeks",
        ),
        (
            NewTopic::new(world.name("bad-value"), 1, 3).config("retention.ms", "a week"),
            ErrorCode::INVALID_CONFIG,
            "Invalid value a week for configuration retention.ms: Not a number of type LONG",
        ),
    ];
    let mut topics = vec![NewTopic::new(&good, 2, 3)];
    topics.extend(refused.iter().map(|(topic, ..)| topic.clone()));

    let outcomes = world.admin().create_topics(&topics, WriteMode::Apply).await;

    assert_eq!(outcomes.len(), topics.len());
    assert!(outcomes[&good].as_ref().is_ok_and(|id| id.is_some_and(|id| !id.is_nil())), "{:?}", outcomes[&good]);
    for (topic, expected, words) in &refused {
        let outcome = &outcomes[&topic.name];
        assert_eq!(code(outcome), *expected, "{outcome:?}");
        let error = outcome.as_ref().expect_err("refused");
        assert!(error.message().contains(words), "the broker's words are kept: {error}");
        assert_eq!(error.class(), ErrorClass::User, "{error}");
        assert_eq!((error.action().api, &error.action().subject), (Api::CreateTopics, &topic.name));
    }
}

pub async fn a_topic_given_twice_is_refused(world: &dyn World) {
    let (good, twice) = (world.name("good"), world.name("other"));
    let topics = [NewTopic::new(&twice, 1, 3), NewTopic::new(&good, 1, 3), NewTopic::new(&twice, 2, 3)];

    let outcomes = world.admin().create_topics(&topics, WriteMode::ValidateOnly).await;

    assert_eq!(code(&outcomes[&twice]), ErrorCode::INVALID_REQUEST);
    assert_eq!(outcomes[&good], Ok(None));
}

pub async fn a_name_that_differs_in_a_dot_and_an_underscore_collides(world: &dyn World) {
    created(world, NewTopic::new(world.name("kafka.dot"), 1, 3)).await;
    let colliding = world.name("kafka_dot");

    let outcomes = world.admin().create_topics(&[NewTopic::new(&colliding, 1, 3)], WriteMode::Apply).await;

    assert_eq!(code(&outcomes[&colliding]), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert!(outcomes[&colliding].as_ref().is_err_and(|error| error.message().contains("collides")), "{outcomes:?}");
}

pub async fn partitions_grow_and_never_shrink(world: &dyn World) {
    let (name, missing) = (world.name("good"), world.name("none"));
    let before = created(world, NewTopic::new(&name, 2, 3)).await;
    let to = |total: i32| BTreeMap::from([(name.clone(), total), (missing.clone(), total)]);

    let checked = world.admin().create_partitions(&to(5), WriteMode::ValidateOnly).await;
    assert_eq!(checked[&name], Ok(()));
    assert_eq!(code(&checked[&missing]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(grown(world, &name, 2).await.partitions.len(), 2);

    let applied = world.admin().create_partitions(&to(5), WriteMode::Apply).await;
    assert_eq!(applied[&name], Ok(()));
    let after = grown(world, &name, 5).await;
    assert_eq!(after.id, before.id);
    assert_eq!(after.replication_factor(), 3);

    for (total, words) in [(5, "already has 5 partition"), (3, "not be an increase"), (0, "not be an increase")] {
        let outcomes = world.admin().create_partitions(&to(total), WriteMode::Apply).await;
        assert_eq!(code(&outcomes[&name]), ErrorCode::INVALID_PARTITIONS, "to {total}");
        assert!(outcomes[&name].as_ref().is_err_and(|error| error.message().contains(words)), "{outcomes:?}");
    }
}

pub async fn deleting_by_id_spares_a_recreated_namesake(world: &dyn World) {
    let name = world.name("good");
    let first = created(world, NewTopic::new(&name, 1, 3)).await;
    let outcomes = world.admin().delete_topics(&[first.id]).await;
    assert_eq!(outcomes[&first.id], Ok(()));
    gone(world, &name).await;
    let second = created(world, NewTopic::new(&name, 1, 3)).await;
    assert_ne!(first.id, second.id);

    let nobody = Uuid::new_v4();
    let outcomes = world.admin().delete_topics(&[first.id, nobody]).await;

    for id in [first.id, nobody] {
        assert_eq!(code(&outcomes[&id]), ErrorCode::UNKNOWN_TOPIC_ID);
        assert!(outcomes[&id].as_ref().is_err_and(AdminError::is_unknown_topic));
    }
    // A broker that has not yet heard of the second answers that it knows none.
    let still = eventually("the namesake", || described_in_full(world, &name)).await;
    assert_eq!(still.id, second.id);
}

pub async fn more_topics_than_fit_one_request_are_all_answered(world: &dyn World) {
    let topics: Vec<NewTopic> =
        (0..NUMBERED).map(|number| NewTopic::new(world.name(&number.to_string()), 1, 1)).collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();

    let created = world.admin().create_topics(&topics, WriteMode::Apply).await;

    assert_eq!(created.len(), NUMBERED);
    assert!(created.values().all(|outcome| outcome.as_ref().is_ok_and(Option::is_some)), "{created:?}");
    let ids: Vec<Uuid> = eventually("all topics", || async {
        let described = world.admin().describe_topics(&names).await;
        assert_eq!(described.len(), NUMBERED);
        described.into_values().map(|topic| topic.map(|topic| topic.id).map_err(|error| error.to_string())).collect()
    })
    .await;
    let told: BTreeSet<Uuid> = created.into_values().filter_map(|outcome| outcome.ok().flatten()).collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), told);
    let deleted = world.admin().delete_topics(&ids).await;
    assert!(deleted.len() == NUMBERED && deleted.values().all(Result::is_ok), "{deleted:?}");
}

pub async fn a_topic_that_does_not_exist_is_unknown_to_every_call(world: &dyn World) {
    let name = world.name("none");
    let names = [name.clone()];
    let change =
        ConfigChange { set: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]), ..Default::default() };
    let key = TopicPartition::new(&name, 0);
    let admin = world.admin();

    let unknown = [
        admin.describe_topics(&names).await.remove(&name).expect("an outcome").map(|_| ()),
        admin.describe_configs(&names).await.remove(&name).expect("an outcome").map(|_| ()),
        admin
            .alter_configs(&BTreeMap::from([(name.clone(), change)]), WriteMode::Apply)
            .await
            .remove(&name)
            .expect("an outcome"),
        admin
            .create_partitions(&BTreeMap::from([(name.clone(), 3)]), WriteMode::Apply)
            .await
            .remove(&name)
            .expect("an outcome"),
        admin
            .list_offsets(&BTreeMap::from([(key.clone(), OffsetSpec::Latest)]))
            .await
            .remove(&key)
            .expect("an outcome")
            .map(|_| ()),
    ];

    for outcome in unknown {
        assert_eq!(code(&outcome), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{outcome:?}");
        let error = outcome.expect_err("unknown");
        assert!(error.is_unknown_topic() && error.class() == ErrorClass::Transient, "{error}");
        assert!(error.to_string().contains(&name), "the error names the topic: {error}");
    }
}

pub async fn asking_for_nothing_answers_nothing(world: &dyn World) {
    let admin = world.admin();

    assert!(admin.describe_topics(&[]).await.is_empty());
    assert!(admin.create_topics(&[], WriteMode::Apply).await.is_empty());
    assert!(admin.delete_topics(&[]).await.is_empty());
    assert!(admin.alter_configs(&BTreeMap::new(), WriteMode::Apply).await.is_empty());
    assert!(admin.describe_groups(&[]).await.is_empty());
    assert!(admin.committed_offsets(&[]).await.is_empty());
    assert!(admin.list_offsets(&BTreeMap::new()).await.is_empty());
}
