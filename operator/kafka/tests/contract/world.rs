//! The world that a story happens in, and what every story needs of it: own names, patience, and order left behind.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use tidegate_kafka::{
    AclFilter, AdminError, ErrorCode, GroupKind, KafkaAdmin, LoggedRecord, NewTopic, OffsetSpec, Topic, TopicPartition,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long something that happens by and by may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(45);

/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How often to look so that each of three brokers is asked, one at random each time: (2/3)^15, that one is not, is 0.2 %.
const LOOKS: usize = 15;

/// The admin under test, and what others do to its cluster.
#[async_trait]
pub trait World: Sync {
    fn admin(&self) -> &dyn KafkaAdmin;

    /// What this story's names begin with.
    fn prefix(&self) -> &str;

    /// Records arrive, one for each time.
    async fn produce(&self, partition: &TopicPartition, times: &[i64]);

    /// A record arrives with what it carries.
    async fn append(&self, partition: &TopicPartition, record: LoggedRecord);

    /// Records arrive in a transaction that stays open; one at a time.
    async fn open_transaction(&self, partition: &TopicPartition, times: &[i64]);

    /// The open transaction is committed.
    async fn commit_transaction(&self, partition: &TopicPartition);

    /// A group without members commits an offset.
    async fn commit(&self, group: &str, partition: &TopicPartition, offset: i64);

    /// A member joins a group, as the only one, and gets all `partitions` of the topic.
    async fn join(&self, group: &str, kind: GroupKind, topic: &str, partitions: i32);

    /// The member that joined leaves.
    async fn leave(&self, group: &str);

    /// Whether a user may log in with a password.
    async fn lets_in(&self, user: &str, password: &str) -> bool;

    /// Whether a user that may log in may look at a topic.
    async fn may_describe(&self, user: &str, password: &str, topic: &str) -> bool;

    /// Groups that did not exist before the story are removed.
    async fn remove_groups(&self);

    /// A name of this story's own.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix())
    }
}

/// A prefix that no other story has.
pub fn unique_prefix() -> String {
    format!("contract-{}", &Uuid::new_v4().simple().to_string()[..8])
}

/// Tells a story, and removes what it made whether it ended well or not.
pub async fn run<W: World>(world: W, story: impl for<'a> FnOnce(&'a dyn World) -> BoxFuture<'a, ()>) {
    let end = AssertUnwindSafe(story(&world)).catch_unwind().await;
    let removed = AssertUnwindSafe(remove(&world)).catch_unwind().await;
    if let Err(panic) = end.and(removed) {
        std::panic::resume_unwind(panic);
    }
}

/// The suffixes of topics that stories make; more are numbered.
const SUFFIXES: [&str; 9] =
    ["good", "other", "third", "kafka.dot", "kafka_dot", "bad-config", "bad-value", "replicas", "none"];

/// The suffixes of users that stories make.
const USERS: [&str; 2] = ["user", "other-user"];

async fn remove(world: &impl World) {
    world.remove_groups().await;
    let users = USERS.map(|suffix| world.name(suffix));
    let acls = world.admin().delete_acls(&users.iter().map(|user| AclFilter::of_user(user)).collect()).await;
    assert!(acls.values().all(Result::is_ok), "{acls:?}");
    for (user, outcome) in world.admin().delete_users(&users).await {
        assert!(outcome.is_ok() || outcome.as_ref().is_err_and(AdminError::is_unknown_user), "{user}: {outcome:?}");
    }
    let numbered = (0..NUMBERED).map(|number| world.name(&number.to_string()));
    let names: Vec<String> = SUFFIXES.iter().map(|suffix| world.name(suffix)).chain(numbered).collect();
    let ids: Vec<Uuid> =
        world.admin().describe_topics(&names).await.into_values().filter_map(|topic| Some(topic.ok()?.id)).collect();
    for (id, outcome) in world.admin().delete_topics(&ids).await {
        assert!(
            outcome.as_ref().is_ok_and(|()| true) || outcome.as_ref().is_err_and(AdminError::is_unknown_topic),
            "{id}: {outcome:?}"
        );
    }
}

/// How many numbered groups a story may make.
pub const GROUPS: usize = 12;

/// How many numbered topics a story may make.
pub const NUMBERED: usize = 120;

/// Looks until something is there; what was last seen says why not.
pub async fn eventually<T, Look, Seen>(what: &str, mut look: Look) -> T
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) if Instant::now() > deadline => panic!("{what} did not come about within {PATIENCE:?}: {seen}"),
            Err(_) => sleep(GLANCE).await,
        }
    }
}

/// Looks until every broker has it. Any of them answers, and each learns of a change by itself.
pub async fn everywhere<T, Look, Seen>(what: &str, mut look: Look) -> T
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T, String>>,
{
    for _ in 1..LOOKS {
        eventually(what, &mut look).await;
    }
    eventually(what, look).await
}

/// A topic whose records stay, of whatever time they are. Every five minutes brokers remove what retention has outlived, also from the
/// segment that is being written.
pub fn keeping(name: &str, partitions: i32) -> NewTopic {
    NewTopic::new(name, partitions, 3).config("retention.ms", "-1")
}

/// Creates a topic and waits until every broker knows it, all replicas are in sync and all partitions are led.
pub async fn created(world: &dyn World, topic: NewTopic) -> Topic {
    let name = topic.name.clone();
    let outcome = world.admin().create_topics(&[topic], tidegate_kafka::WriteMode::Apply).await;
    let id = outcome[&name].clone().expect("the topic is created").expect("the answer has the topic's id");
    let topic = everywhere("the topic, whoever is asked", || async {
        let topic = described_in_full(world, &name).await?;
        if topic.id == id { Ok(topic) } else { Err(format!("not the id that creation told, {id}: {topic:?}")) }
    })
    .await;
    // A broker tells of a topic before it has made its logs; until then it leads none of its partitions.
    let latest = |index| (TopicPartition::new(&name, index), OffsetSpec::Latest);
    let ends: BTreeMap<_, _> = topic.partitions.iter().map(|partition| latest(partition.index)).collect();
    eventually("the leaders", || async {
        let asked = world.admin().list_offsets(&ends).await;
        asked.into_values().find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
    })
    .await;
    topic
}

pub async fn described_in_full(world: &dyn World, name: &str) -> Result<Topic, String> {
    let topic =
        world.admin().describe_topics(&[name.to_owned()]).await.remove(name).expect("every name has an outcome");
    let topic = topic.map_err(|error| error.to_string())?;
    let settled = |topic: &Topic| {
        topic
            .partitions
            .iter()
            .all(|partition| partition.leader.is_some() && partition.isr.len() == partition.replicas.len())
    };
    if settled(&topic) { Ok(topic) } else { Err(format!("{topic:?}")) }
}

/// Waits until a topic has so many partitions.
pub async fn grown(world: &dyn World, name: &str, partitions: usize) -> Topic {
    eventually("the partitions", || async {
        let topic = described_in_full(world, name).await?;
        if topic.partitions.len() == partitions {
            Ok(topic)
        } else {
            Err(format!("{} partitions", topic.partitions.len()))
        }
    })
    .await
}

/// Waits until a topic is gone.
pub async fn gone(world: &dyn World, name: &str) {
    eventually("the deletion", || async {
        match world.admin().describe_topics(&[name.to_owned()]).await.remove(name) {
            Some(Err(error)) if error.is_unknown_topic() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The protocol's name of the error.
pub fn code<T: std::fmt::Debug>(outcome: &Result<T, AdminError>) -> ErrorCode {
    let error = outcome.as_ref().expect_err("Kafka refuses");
    error.code().unwrap_or_else(|| panic!("an error of Kafka, not {error}"))
}
