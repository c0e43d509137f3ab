//! Stories of users and ACLs.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{
    Acl, AclFilter, AdminError, Credential, ErrorCode, NewTopic, Operation, PatternType, Permission, ResourceType,
};
use tidegate_settings::binding::{ScramMechanism, Secret};

use super::world::{World, code, created, eventually, everywhere};

async fn set_password(world: &dyn World, user: &str, password: &str) {
    let outcomes = world.admin().upsert_users(&BTreeMap::from([(user.to_owned(), Secret::new(password))])).await;
    assert_eq!(outcomes[user], Ok(()));
}

/// Brokers learn of a change by and by, each for itself.
async fn logs_in(world: &dyn World, user: &str, password: &str, expected: bool) {
    eventually(&format!("that logging in as {user} with {password} is {expected}"), || async {
        if world.lets_in(user, password).await == expected { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
}

async fn acls_are(world: &dyn World, filter: &AclFilter, expected: &BTreeSet<Acl>) {
    eventually("the ACLs", || async {
        let seen = world.admin().describe_acls(filter).await.map_err(|error| error.to_string())?;
        if seen == *expected { Ok(()) } else { Err(format!("{seen:#?}")) }
    })
    .await;
}

async fn create(world: &dyn World, acls: &BTreeSet<Acl>) {
    for (acl, outcome) in world.admin().create_acls(acls).await {
        assert_eq!(outcome, Ok(()), "{acl}");
    }
}

pub async fn a_user_logs_in_with_its_latest_password_until_it_is_deleted(world: &dyn World) {
    let (user, other) = (world.name("user"), world.name("other-user"));
    let unknown = world.admin().describe_users(std::slice::from_ref(&user)).await;
    assert_eq!(code(&unknown[&user]), ErrorCode::RESOURCE_NOT_FOUND);
    assert!(!world.lets_in(&user, "first").await);

    set_password(world, &user, "first").await;
    logs_in(world, &user, "first", true).await;
    assert!(!world.lets_in(&user, "another").await);

    set_password(world, &user, "second").await;
    logs_in(world, &user, "first", false).await;
    logs_in(world, &user, "second", true).await;
    everywhere("the user, and no other", || async {
        let described = world.admin().describe_users(&[user.clone(), other.clone()]).await;
        let listed = world.admin().list_users().await.map_err(|error| error.to_string())?;
        let is_one = |credentials: &[Credential]| match credentials {
            [one] => (one.mechanism, one.iterations) == (ScramMechanism::Sha512, 4_096),
            _ => false,
        };
        let is_known = described[&user].as_ref().is_ok_and(|known| is_one(known) && listed.get(&user) == Some(known));
        let is_alone =
            described[&other].as_ref().is_err_and(AdminError::is_unknown_user) && !listed.contains_key(&other);
        if is_known && is_alone { Ok(()) } else { Err(format!("{described:?} {:?}", listed.get(&user))) }
    })
    .await;

    let deleted = world.admin().delete_users(std::slice::from_ref(&user)).await;
    assert_eq!(deleted[&user], Ok(()));
    logs_in(world, &user, "second", false).await;
    let again = world.admin().delete_users(std::slice::from_ref(&user)).await;
    assert_eq!(code(&again[&user]), ErrorCode::RESOURCE_NOT_FOUND);
}

pub async fn users_of_a_batch_fail_one_by_one(world: &dyn World) {
    let user = world.name("user");
    let passwords = [String::new(), user.clone()].map(|user| (user, Secret::new("password")));

    let outcomes = world.admin().upsert_users(&passwords.into()).await;

    assert_eq!(code(&outcomes[""]), ErrorCode::UNACCEPTABLE_CREDENTIAL);
    assert_eq!(outcomes[&user], Ok(()));
    logs_in(world, &user, "password", true).await;
}

pub async fn an_acl_of_every_kind_reads_back_as_it_was_created(world: &dyn World) {
    let (user, name) = (world.name("user"), world.name("good"));
    let on = |operation, resource, pattern| Acl::allow(&user, operation, resource, pattern, &name);
    let acls = BTreeSet::from([
        on(Operation::READ, ResourceType::TOPIC, PatternType::LITERAL),
        on(Operation::READ, ResourceType::TOPIC, PatternType::PREFIXED),
        on(Operation::WRITE, ResourceType::TOPIC, PatternType::LITERAL),
        on(Operation::READ, ResourceType::GROUP, PatternType::LITERAL),
        on(Operation::DESCRIBE, ResourceType::TRANSACTIONAL_ID, PatternType::PREFIXED),
        Acl { host: "10.1.2.3".into(), ..on(Operation::DELETE, ResourceType::TOPIC, PatternType::LITERAL) },
        Acl { permission: Permission::DENY, ..on(Operation::ALTER, ResourceType::TOPIC, PatternType::LITERAL) },
        Acl { name: Acl::CLUSTER.into(), ..on(Operation::DESCRIBE, ResourceType::CLUSTER, PatternType::LITERAL) },
        Acl { name: "*".into(), ..on(Operation::DESCRIBE, ResourceType::TOPIC, PatternType::LITERAL) },
    ]);

    create(world, &acls).await;
    acls_are(world, &AclFilter::of_user(&user), &acls).await;

    // Said again, it is still one.
    create(world, &acls).await;
    acls_are(world, &AclFilter::of_user(&user), &acls).await;
    assert_eq!(world.admin().describe_acls(&AclFilter::of_user(&world.name("other-user"))).await, Ok(BTreeSet::new()));
}

pub async fn deleting_takes_what_the_filter_says_and_nothing_else(world: &dyn World) {
    let (user, other, name) = (world.name("user"), world.name("other-user"), world.name("good"));
    let topic = |user: &str, pattern| Acl::allow(user, Operation::READ, ResourceType::TOPIC, pattern, &name);
    let (literal, prefixed) = (topic(&user, PatternType::LITERAL), topic(&user, PatternType::PREFIXED));
    let group = Acl { resource: ResourceType::GROUP, ..literal.clone() };
    let theirs = topic(&other, PatternType::LITERAL);
    create(world, &[&literal, &prefixed, &group, &theirs].map(Clone::clone).into()).await;
    let ours = AclFilter::of_user(&user);
    acls_are(world, &ours, &[&literal, &prefixed, &group].map(Clone::clone).into()).await;

    let exactly = AclFilter::from(&prefixed);
    let outcomes = world.admin().delete_acls(&BTreeSet::from([exactly.clone()])).await;
    assert_eq!(outcomes[&exactly], Ok(BTreeSet::from([prefixed])));
    acls_are(world, &ours, &[&literal, &group].map(Clone::clone).into()).await;

    let outcomes = world.admin().delete_acls(&BTreeSet::from([ours.clone(), exactly.clone()])).await;
    assert_eq!(outcomes[&ours], Ok(BTreeSet::from([literal, group])));
    assert_eq!(outcomes[&exactly], Ok(BTreeSet::new()), "one that is not there is no error");
    acls_are(world, &ours, &BTreeSet::new()).await;
    acls_are(world, &AclFilter::of_user(&other), &BTreeSet::from([theirs])).await;
}

pub async fn a_name_is_meant_literally_or_as_a_beginning(world: &dyn World) {
    let (user, name, other) = (world.name("user"), world.name("good"), world.name("other"));
    created(world, NewTopic::new(&name, 1, 3)).await;
    created(world, NewTopic::new(&other, 1, 3)).await;
    set_password(world, &user, "password").await;
    logs_in(world, &user, "password", true).await;
    let look = |pattern, name: &str| Acl::allow(&user, Operation::DESCRIBE, ResourceType::TOPIC, pattern, name);
    let beginning = name.strip_suffix("ood").expect("the name ends so").to_owned();
    let sees = async |expected: bool| {
        eventually(&format!("that the topic is seen: {expected}"), || async {
            let seen = world.may_describe(&user, "password", &name).await;
            if seen == expected { Ok(()) } else { Err(format!("{seen}")) }
        })
        .await;
        assert!(!world.may_describe(&user, "password", &other).await, "nothing is said of the other topic");
    };
    sees(false).await;

    for (pattern, said) in [(PatternType::LITERAL, &name), (PatternType::PREFIXED, &beginning)] {
        let acls = BTreeSet::from([look(pattern, said)]);
        create(world, &acls).await;
        sees(true).await;
        let filter = AclFilter::of_user(&user);
        assert_eq!(world.admin().delete_acls(&BTreeSet::from([filter.clone()])).await[&filter], Ok(acls));
        sees(false).await;
    }

    let meaningless = BTreeSet::from([look(PatternType::LITERAL, &beginning)]);
    create(world, &meaningless).await;
    acls_are(world, &AclFilter::of_user(&user), &meaningless).await;
    everywhere("that a beginning is not the name", || async {
        let seen = world.may_describe(&user, "password", &name).await;
        if seen { Err("it is seen".to_owned()) } else { Ok(()) }
    })
    .await;
}

pub async fn acls_of_a_batch_are_refused_one_by_one(world: &dyn World) {
    let user = world.name("user");
    let good = Acl::allow(&user, Operation::READ, ResourceType::TOPIC, PatternType::LITERAL, world.name("good"));
    let nobody = Acl { principal: "nobody".into(), ..good.clone() };
    let nowhere = Acl { resource: ResourceType::CLUSTER, ..good.clone() };

    let outcomes = world.admin().create_acls(&[&good, &nobody, &nowhere].map(Clone::clone).into()).await;

    assert_eq!(outcomes[&good], Ok(()));
    assert_eq!(code(&outcomes[&nobody]), ErrorCode::INVALID_REQUEST);
    assert_eq!(code(&outcomes[&nowhere]), ErrorCode::INVALID_REQUEST);
    acls_are(world, &AclFilter::of_user(&user), &BTreeSet::from([good])).await;
}
