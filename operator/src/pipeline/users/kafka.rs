//! Users and ACLs in Kafka, as they are read: of a few users one by one, of many all at once.

use std::collections::{BTreeMap, BTreeSet};

use futures::future;
use tidegate_kafka::{Acl, AclFilter, AdminError, KafkaAdmin, PerItem};

use super::plan::InKafka;

/// So many users are asked about one by one; above that every ACL of the cluster is asked for.
const FEW: usize = 8;

/// Looks at users.
pub async fn look(admin: &dyn KafkaAdmin, names: &[String]) -> PerItem<String, InKafka> {
    let described = admin.describe_users(names);
    let (described, acls) = if names.len() <= FEW {
        let each = names.iter().map(|name| async move {
            let acls = admin.describe_acls(&AclFilter::of_user(name)).await;
            (name.clone(), acls)
        });
        let (described, acls) = future::join(described, future::join_all(each)).await;
        (described, acls.into_iter().collect())
    } else {
        let (described, all) = future::join(described, admin.describe_acls(&AclFilter::default())).await;
        (described, of_each(names, all))
    };
    put_together(described, acls)
}

fn of_each(names: &[String], all: Result<BTreeSet<Acl>, AdminError>) -> PerItem<String, BTreeSet<Acl>> {
    let sorted = all.map(by_user);
    let of = |name: &String| match &sorted {
        Ok(sorted) => (name.clone(), Ok(sorted.get(name).cloned().unwrap_or_default())),
        Err(error) => (name.clone(), Err(error.clone())),
    };
    names.iter().map(of).collect()
}

/// ACLs by the user that they are about.
pub fn by_user(acls: BTreeSet<Acl>) -> BTreeMap<String, BTreeSet<Acl>> {
    let mut sorted: BTreeMap<String, BTreeSet<Acl>> = BTreeMap::new();
    for acl in acls {
        if let Some(user) = acl.principal.strip_prefix("User:") {
            sorted.entry(user.to_owned()).or_default().insert(acl);
        }
    }
    sorted
}

fn put_together<C>(
    described: PerItem<String, C>,
    mut acls: PerItem<String, BTreeSet<Acl>>,
) -> PerItem<String, InKafka> {
    let of = |(name, credentials): (String, Result<C, AdminError>)| {
        let exists = match credentials {
            Ok(_) => Ok(true),
            Err(error) if error.is_unknown_user() => Ok(false),
            Err(error) => Err(error),
        };
        let acls = acls.remove(&name).unwrap_or_else(|| Ok(BTreeSet::new()));
        let found = exists.and_then(|exists| Ok(InKafka { exists, acls: acls? }));
        (name, found)
    };
    described.into_iter().map(of).collect()
}

/// The first error of a call for many.
///
/// # Errors
/// That one.
pub fn all<K, V>(outcomes: PerItem<K, V>) -> Result<(), AdminError> {
    outcomes.into_values().try_for_each(|outcome| outcome.map(drop))
}

#[cfg(test)]
mod tests {
    use tidegate_kafka::{Api, Operation, PatternType, ResourceType, twin::Twin};
    use tidegate_settings::binding::Secret;

    use super::*;

    #[tokio::test]
    async fn few_and_many_are_seen_alike() {
        let twin = Twin::new();
        let acl = |user: &str| Acl::allow(user, Operation::READ, ResourceType::TOPIC, PatternType::LITERAL, "events");
        twin.upsert_users(&[("ada".to_owned(), Secret::new("a"))].into()).await;
        twin.create_acls(&[acl("ada"), acl("bob"), acl("somebody else")].into()).await;
        let names = |count: usize| {
            let more = (2..count).map(|number| format!("user-{number}"));
            ["ada", "bob"].into_iter().map(str::to_owned).chain(more).collect::<Vec<_>>()
        };

        for count in [2, FEW, FEW + 1] {
            let seen = look(&twin, &names(count)).await;
            assert_eq!(seen.len(), count);
            assert_eq!(seen["ada"], Ok(InKafka { exists: true, acls: [acl("ada")].into() }));
            assert_eq!(seen["bob"], Ok(InKafka { exists: false, acls: [acl("bob")].into() }));
            assert!(seen.values().skip(2).all(|seen| *seen == Ok(InKafka::default())));
        }
        assert_eq!(twin.count(Api::DescribeAcls), 2 + FEW + 1);
    }
}
