//! Stories of consumer groups.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{AdminError, ErrorCode, Group, GroupKind, GroupState, NewTopic, TopicPartition};

use super::world::{GROUPS, World, code, created, eventually};

async fn described(world: &dyn World, id: &str) -> Result<Group, AdminError> {
    world.admin().describe_groups(&[id.to_owned()]).await.remove(id).expect("an outcome")
}

/// What a group has committed, when its coordinator answers. It may move, and has to be loaded first then.
async fn committed(world: &dyn World, id: &str) -> BTreeMap<TopicPartition, i64> {
    eventually("the coordinator", || async {
        let offsets = world.admin().committed_offsets(&[id.to_owned()]).await.remove(id).expect("an outcome");
        let offsets = offsets.map_err(|error| error.to_string())?;
        Ok(offsets.into_iter().map(|(key, commit)| (key, commit.offset)).collect())
    })
    .await
}

pub async fn a_group_that_does_not_exist_is_not_found_and_has_committed_nothing(world: &dyn World) {
    let id = world.name("nobody");

    let outcome = described(world, &id).await;

    assert_eq!(code(&outcome), ErrorCode::GROUP_ID_NOT_FOUND);
    assert!(outcome.as_ref().is_err_and(AdminError::is_unknown_group));
    assert_eq!(committed(world, &id).await, BTreeMap::new());
}

pub async fn a_commit_at_zero_is_not_the_same_as_none(world: &dyn World) {
    let (name, id) = (world.name("good"), world.name("group"));
    created(world, NewTopic::new(&name, 3, 3)).await;
    let partition = |index| TopicPartition::new(&name, index);

    world.commit(&id, &partition(0), 0).await;
    world.commit(&id, &partition(2), 7).await;

    let expected = BTreeMap::from([(partition(0), 0), (partition(2), 7)]);
    eventually("the commits", || async {
        let seen = committed(world, &id).await;
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let group = described(world, &id).await.expect("a group with commits exists");
    assert_eq!((group.state, group.members), (GroupState::Empty, Vec::new()));
    let both = world.admin().committed_offsets(&[id.clone(), world.name("nobody")]).await;
    assert_eq!(both.len(), 2);
    assert!(both.values().all(Result::is_ok), "{both:?}");
}

pub async fn members_of_a_classic_group_show_what_they_own(world: &dyn World) {
    members_show_what_they_own(world, GroupKind::Classic).await;
}

pub async fn members_of_a_kip_848_group_show_what_they_own(world: &dyn World) {
    members_show_what_they_own(world, GroupKind::Consumer).await;
}

async fn members_show_what_they_own(world: &dyn World, kind: GroupKind) {
    let (name, id) = (world.name("good"), world.name("group"));
    created(world, NewTopic::new(&name, 3, 3)).await;

    world.join(&id, kind.clone(), &name, 3).await;

    let owned = Some(BTreeMap::from([(name.clone(), BTreeSet::from([0, 1, 2]))]));
    let group = eventually("a stable group", || async {
        match described(world, &id).await {
            Ok(group)
                if group.state == GroupState::Stable
                    && group.members.iter().any(|member| member.assignment == owned) =>
            {
                Ok(group)
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!((&group.id, &group.kind, group.members.len()), (&id, &kind, 1));
    assert!(!group.members[0].id.is_empty() && !group.members[0].host.is_empty(), "{group:?}");

    world.leave(&id).await;

    eventually("the members' leaving", || async {
        match described(world, &id).await {
            Ok(group) if group.members.is_empty() => Ok(()),
            Err(error) if error.is_unknown_group() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

pub async fn many_groups_are_asked_at_once_and_each_hears_its_own(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 2, 3)).await;
    let partition = |index| TopicPartition::new(&name, index);
    let groups: Vec<String> = (0..GROUPS).map(|number| world.name(&format!("group-{number}"))).collect();
    for (offset, group) in (1..).zip(&groups) {
        world.commit(group, &partition(0), offset).await;
        world.commit(group, &partition(1), 10 * offset).await;
    }
    world.join(&world.name("group"), GroupKind::Consumer, &name, 2).await;
    let nobody = world.name("nobody");

    let all: Vec<String> = groups.iter().cloned().chain([nobody.clone(), world.name("group")]).collect();
    eventually("every group's own commits and state", || async {
        let (mut commits, described) =
            (world.admin().committed_offsets(&all).await, world.admin().describe_groups(&all).await);
        for (offset, group) in (1..).zip(&groups) {
            let seen = commits.remove(group).expect("an outcome").map_err(|error| error.to_string())?;
            let seen: Vec<_> = seen.into_iter().map(|(key, commit)| (key.partition, commit.offset)).collect();
            let described = described[group].as_ref().map_err(ToString::to_string)?;
            if seen != [(0, offset), (1, 10 * offset)] || described.id != *group || !described.members.is_empty() {
                return Err(format!("{group}: {seen:?}, {described:?}"));
            }
        }
        let with_member = described[&world.name("group")].as_ref().map_err(ToString::to_string)?;
        let nothing = commits.remove(&nobody).expect("an outcome").map_err(|error| error.to_string())?;
        let unknown = described[&nobody].as_ref().is_err_and(AdminError::is_unknown_group);
        if with_member.members.len() == 1 && with_member.epoch.is_some() && nothing.is_empty() && unknown {
            Ok(())
        } else {
            Err(format!("{with_member:?}, {nothing:?}, {:?}", described[&nobody]))
        }
    })
    .await;
    world.leave(&world.name("group")).await;
}

pub async fn commits_for_a_deleted_topic_disappear(world: &dyn World) {
    let (name, other, id) = (world.name("good"), world.name("other"), world.name("group"));
    let topic = created(world, NewTopic::new(&name, 1, 3)).await;
    created(world, NewTopic::new(&other, 1, 3)).await;
    world.commit(&id, &TopicPartition::new(&name, 0), 3).await;
    world.commit(&id, &TopicPartition::new(&other, 0), 4).await;

    assert_eq!(world.admin().delete_topics(&[topic.id]).await[&topic.id], Ok(()));

    let left = BTreeMap::from([(TopicPartition::new(&other, 0), 4)]);
    eventually("the end of the commits", || async {
        let seen = committed(world, &id).await;
        if seen == left { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}
