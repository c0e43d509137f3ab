//! A replay begins a generation: what was made before it is gone, and whoever is of an earlier one writes nothing any more.

use sqlx::{PgConnection, PgPool, postgres::PgTransaction};
use tidegate_runtime::consumer::{
    ConsumerConfig, ConsumerError, HandlerError, Projection, Record,
    generation::{GenerationError, begin},
};
use tidegate_settings::Generation;

use crate::{
    projector::{Member, TABLES, Trap, WriteDown, applied, config, group, numbered},
    support::{Database, Topic, eventually, soon},
};

fn generation(id: &str, topic: &str, offsets: &[(i32, i64)]) -> Generation {
    let offsets = offsets.iter().map(|(partition, offset)| (partition.to_string(), *offset)).collect();
    Generation { id: id.into(), offsets: [(topic.to_owned(), offsets)].into() }
}

fn projection() -> WriteDown {
    WriteDown::new("any", Trap::None)
}

/// Who applied from which offset on, by partition.
async fn beginnings(pool: &PgPool) -> Vec<(String, i32, i64)> {
    sqlx::query_as("SELECT member, partition, min(record_offset) FROM applied GROUP BY 1, 2 ORDER BY 1, 2")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_removes_what_was_made_and_begins_where_it_is_told() {
    let (topic, database, group) = (Topic::create(2).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 100)).await;
    let pool = &database.pool;
    let began = begin(pool, &group, None, &projection()).await.unwrap();
    assert_eq!(began, Generation::default());
    let first = Member::start(config(&topic.name, &group), pool, "a", Trap::None);
    eventually("everything is applied", || async { applied(pool).await == 100 }).await;
    first.stop().await;

    // Two replicas at once: one removes, the other waits and finds it done.
    let asked = generation("again", &topic.name, &[(0, 7), (1, 0)]);
    let projection = projection();
    let (one, other) =
        tokio::join!(begin(pool, &group, Some(&asked), &projection), begin(pool, &group, Some(&asked), &projection));
    assert_eq!((one.unwrap(), other.unwrap()), (asked.clone(), asked.clone()));
    assert_eq!(applied(pool).await, 0);
    let of = |generation: &Generation| ConsumerConfig { generation: generation.clone(), ..config(&topic.name, &group) };
    let second = Member::start(of(&asked), pool, "b", Trap::None);
    eventually("all but seven are applied", || async { applied(pool).await == 93 }).await;
    assert_eq!(beginnings(pool).await, [("b".into(), 0, 7), ("b".into(), 1, 0)]);
    second.stop().await;

    // It goes on after a stop, told of it or not.
    topic.produce(numbered(100, 120)).await;
    let asked_again = begin(pool, &group, Some(&asked), &projection).await.unwrap();
    assert_eq!(begin(pool, &group, None, &projection).await.unwrap().id, "again");
    let third = Member::start(of(&asked_again), pool, "c", Trap::None);
    eventually("the rest is applied", || async { applied(pool).await == 113 }).await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_an_earlier_generation_writes_nothing_and_ends() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 20)).await;
    let pool = &database.pool;
    begin(pool, &group, None, &projection()).await.unwrap();
    let old = Member::start(config(&topic.name, &group), pool, "old", Trap::None);
    eventually("everything is applied", || async { applied(pool).await == 20 }).await;

    // It begins exactly where the old one is: only the generation tells them apart.
    let asked = generation("again", &topic.name, &[(0, 20)]);
    begin(pool, &group, Some(&asked), &projection()).await.unwrap();
    sqlx::query(
        "INSERT INTO tidegate.projection_offsets (consumer_group, topic, partition, next_offset, generation)
         VALUES ($1, $2, 0, 20, 'again')",
    )
    .bind(&group)
    .bind(&topic.name)
    .execute(pool)
    .await
    .unwrap();
    topic.produce(numbered(20, 40)).await;

    let ended = soon("the old member ends", old.ended()).await;
    assert!(matches!(ended, Err(ConsumerError::Superseded { .. })), "{ended:?}");
    assert_eq!(applied(pool).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_an_earlier_generation_does_not_start() {
    let (database, group) = (Database::create(TABLES).await, group());
    let pool = &database.pool;
    for id in ["one", "two"] {
        begin(pool, &group, Some(&generation(id, "t", &[])), &projection()).await.unwrap();
    }
    let refused = begin(pool, &group, Some(&generation("one", "t", &[])), &projection()).await;
    assert!(matches!(&refused, Err(GenerationError::Superseded { current, .. }) if current == "two"), "{refused:?}");
}

/// Its tables cannot be emptied.
struct Stubborn;

impl Projection for Stubborn {
    async fn apply(&self, _: &mut PgTransaction<'_>, _: &[Record]) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn clear(&self, connection: &mut PgConnection) -> Result<(), HandlerError> {
        sqlx::query("TRUNCATE applied").execute(connection).await?;
        Err(HandlerError::retry("no"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_whole_stays_whole() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 10)).await;
    let pool = &database.pool;
    let member = Member::start(config(&topic.name, &group), pool, "a", Trap::None);
    eventually("everything is applied", || async { applied(pool).await == 10 }).await;
    member.stop().await;

    let refused = begin(pool, &group, Some(&generation("again", &topic.name, &[(0, 0)])), &Stubborn).await;

    assert!(matches!(refused, Err(GenerationError::Clear { .. })), "{refused:?}");
    assert_eq!(applied(pool).await, 10);
    assert_eq!(begin(pool, &group, None, &Stubborn).await.unwrap().id, "");
}
