use proptest::prelude::*;
use tidegate_kafka::{Operation, PatternType, ResourceType};

use super::*;

const PROCESSOR: &str = "ledger";

fn right(topic: &str) -> Right {
    Right {
        resource: ResourceType::TOPIC,
        pattern: PatternType::LITERAL,
        name: topic.to_owned(),
        operation: Operation::READ,
    }
}

fn owner() -> Owner {
    Owner { installation: "tidegate".into(), namespace: "bank".into(), pipeline: "wallet".into() }
}

fn desired(topics: &[&str]) -> Desired {
    Desired {
        owner: owner(),
        connection: "main".into(),
        rights: [(PROCESSOR.to_owned(), topics.iter().map(|topic| right(topic)).collect())].into(),
        known: [PROCESSOR.to_owned()].into(),
        rotation: None,
    }
}

fn rotated(value: &str) -> Desired {
    Desired { rotation: Some(value.to_owned()), ..desired(&["events"]) }
}

fn user(slot: Slot) -> User {
    User { connection: "main".into(), name: owner().user(PROCESSOR, slot) }
}

/// What there is when everything was made for `desired` long ago.
fn at_rest(desired: &Desired) -> Seen {
    let mut active = record(PROCESSOR, &user(Slot::A), UserPhase::Active);
    active.secret_version = Some("1".into());
    active.rotation.clone_from(&desired.rotation);
    let acls = acls(&desired.rights[PROCESSOR], &active.username);
    let secret = SecretSeen { username: Some(active.username.clone()), version: "1".into() };
    Seen {
        records: [active].into(),
        secrets: [(PROCESSOR.to_owned(), secret)].into(),
        kafka: [(user(Slot::A), InKafka { exists: true, acls }), (user(Slot::B), InKafka::default())].into(),
        ..Seen::default()
    }
}

/// Steps until there is nothing to do, a word each. Passwords are issued as versions 10, 11, ... of the Secret.
fn story(desired: &Desired, seen: &mut Seen) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(step) = plan(desired, seen) {
        assert!(words.len() < 20, "no end: {words:?}");
        let name = |user: &User| user.name.rsplit('.').next().unwrap_or_default().to_owned();
        let (word, secret) = match &step {
            Step::Record(records) => {
                let of = |record: &KafkaUserStatus| format!("{} {:?}", name(&User::of(record)), record.phase);
                (format!("record [{}]", records.iter().map(of).collect::<Vec<_>>().join(", ")), None)
            }
            Step::Grant(_, acls) => (format!("grant {}", acls.len()), None),
            Step::Revoke(_, acls) => (format!("revoke {}", acls.len()), None),
            Step::Issue { user, .. } => {
                let secret = SecretSeen { username: Some(user.name.clone()), version: (10 + words.len()).to_string() };
                (format!("issue {}", name(user)), Some(secret))
            }
            Step::Give { user, .. } => (format!("give {}", name(user)), None),
            Step::Remove(user) => (format!("remove {}", name(user)), None),
        };
        seen.after(step, secret);
        words.push(word);
    }
    words
}

fn nothing() -> Seen {
    Seen { kafka: [(user(Slot::A), InKafka::default()), (user(Slot::B), InKafka::default())].into(), ..Seen::default() }
}

#[test]
fn a_user_is_on_record_before_it_is_made_and_has_its_rights_before_anybody_can_be_it() {
    let mut seen = nothing();
    assert_eq!(
        story(&desired(&["events", "dlq"]), &mut seen),
        ["record [a Active]", "grant 2", "issue a", "record [a Active]"]
    );
    assert_eq!(story(&desired(&["events", "dlq"]), &mut seen), Vec::<String>::new());
}

#[test]
fn at_rest_nothing_is_done() {
    assert_eq!(plan(&desired(&["events"]), &at_rest(&desired(&["events"]))), None);
}

#[test]
fn rights_follow_the_spec_and_what_others_did_to_them_is_undone() {
    let mut seen = at_rest(&desired(&["events", "old"]));
    assert_eq!(story(&desired(&["events", "new"]), &mut seen), ["grant 1", "revoke 1"]);
    // What pods of before still need stays until they are gone; what nobody ever wished for goes at once.
    let mut seen = at_rest(&desired(&["events", "old"]));
    seen.lingering = desired(&["events", "old"]).rights;
    let foreign = right("secrets").of(&user(Slot::A).name);
    seen.kafka.get_mut(&user(Slot::A)).unwrap().acls.insert(foreign);
    assert_eq!(story(&desired(&["events"]), &mut seen), ["revoke 1"]);
    seen.settled.insert(PROCESSOR.to_owned());
    assert_eq!(story(&desired(&["events"]), &mut seen), ["revoke 1"]);
}

#[test]
fn another_user_takes_the_place_of_the_first_which_goes_when_no_pod_uses_it() {
    let asked = rotated("monday");
    let mut seen = at_rest(&desired(&["events"]));
    assert_eq!(
        story(&asked, &mut seen),
        ["record [a Active, b Next]", "grant 1", "issue b", "record [a Former, b Active]"]
    );
    seen.settled.insert(PROCESSOR.to_owned());
    assert_eq!(story(&asked, &mut seen), ["remove a", "record [b Active]"]);
    // Once a value; and another value takes turns.
    assert_eq!(story(&asked, &mut seen), Vec::<String>::new());
    assert_eq!(story(&desired(&["events"]), &mut seen), Vec::<String>::new(), "the annotation was taken off");
    seen.settled.clear();
    assert_eq!(story(&rotated("tuesday"), &mut seen)[0], "record [a Next, b Active]");
}

#[test]
fn a_second_request_waits_until_the_first_is_done() {
    let mut seen = at_rest(&desired(&["events"]));
    story(&rotated("monday"), &mut seen);
    assert_eq!(story(&rotated("tuesday"), &mut seen), Vec::<String>::new(), "pods still use the first user");
    seen.settled.insert(PROCESSOR.to_owned());
    let words = story(&rotated("tuesday"), &mut seen);
    assert_eq!(words[..2], ["remove a", "record [b Active]"], "{words:?}");
    assert_eq!(words[2], "record [a Next, b Active]");
}

#[test]
fn a_pipeline_that_begins_with_the_annotation_has_nothing_to_rotate() {
    let mut seen = nothing();
    story(&rotated("monday"), &mut seen);
    assert_eq!(story(&rotated("monday"), &mut seen), Vec::<String>::new());
    assert_eq!(seen.records.len(), 1);
}

#[test]
fn what_was_done_to_the_secret_or_to_the_user_is_mended() {
    let spec = desired(&["events"]);
    let secret = |username: Option<&str>, version: &str| SecretSeen {
        username: username.map(str::to_owned),
        version: version.to_owned(),
    };
    let a = user(Slot::A).name;
    for (secret, words) in [
        // Deleted, emptied, or made somebody else's: another password.
        (None, vec!["issue a", "record [a Active]"]),
        (Some(secret(None, "2")), vec!["issue a", "record [a Active]"]),
        (Some(secret(Some("bob"), "2")), vec!["issue a", "record [a Active]"]),
        // Edited: Kafka follows.
        (Some(secret(Some(&a), "2")), vec!["give a", "record [a Active]"]),
    ] {
        let mut seen = at_rest(&spec);
        seen.secrets = secret.map(|secret| (PROCESSOR.to_owned(), secret)).into_iter().collect();
        assert_eq!(story(&spec, &mut seen), words);
    }
    let mut seen = at_rest(&spec);
    seen.kafka.get_mut(&user(Slot::A)).unwrap().exists = false;
    assert_eq!(story(&spec, &mut seen), ["give a"], "somebody deleted the user");
}

#[test]
fn a_status_that_was_lost_is_found_out_from_the_secret_and_from_kafka() {
    let spec = desired(&["events"]);
    let mut seen = at_rest(&spec);
    seen.records.clear();
    let secret = SecretSeen { username: Some(user(Slot::B).name), version: "7".into() };
    seen.secrets.insert(PROCESSOR.to_owned(), secret);
    assert_eq!(
        story(&spec, &mut seen),
        ["record [a Former, b Active]", "grant 1", "give b", "record [a Former, b Active]"]
    );
    seen.settled.insert(PROCESSOR.to_owned());
    assert_eq!(story(&spec, &mut seen), ["remove a", "record [b Active]"]);
}

#[test]
fn what_no_processor_is_any_more_goes_when_its_pods_are_gone() {
    let spec = desired(&["events"]);
    let mut seen = at_rest(&spec);
    let without = Desired { rights: BTreeMap::new(), ..spec };
    assert_eq!(story(&without, &mut seen), ["record [a Former]"]);
    seen.settled.insert(PROCESSOR.to_owned());
    assert_eq!(story(&without, &mut seen), ["remove a", "record []"]);
}

#[test]
fn on_another_cluster_users_are_made_anew_and_those_of_the_first_go() {
    let spec = desired(&["events"]);
    let mut seen = at_rest(&spec);
    let moved = Desired { connection: "other".into(), ..spec };
    for slot in [Slot::A, Slot::B] {
        seen.kafka.insert(User { connection: "other".into(), ..user(slot) }, InKafka::default());
    }
    assert_eq!(
        story(&moved, &mut seen),
        ["record [a Former, a Active]", "grant 1", "give a", "record [a Former, a Active]"]
    );
    seen.settled.insert(PROCESSOR.to_owned());
    assert_eq!(story(&moved, &mut seen), ["remove a", "record [a Active]"]);
    assert_eq!(seen.records.first().map(|record| record.connection.as_str()), Some("other"));
}

/// A world in which steps can break off in the middle.
#[derive(Clone, Debug, Default)]
struct Model {
    records: BTreeSet<KafkaUserStatus>,
    /// User, password, version.
    secret: Option<(String, u32, u32)>,
    passwords: BTreeMap<User, u32>,
    acls: BTreeMap<User, BTreeSet<Acl>>,
    /// User, password and version that each pod reads.
    pods: Vec<(String, u32, u32)>,
    clock: u32,
}

impl Model {
    fn look(&self, settled: bool) -> Seen {
        let secret = self.secret.as_ref().map(|(username, _, version)| SecretSeen {
            username: Some(username.clone()),
            version: version.to_string(),
        });
        let in_kafka = |slot| {
            let user = user(slot);
            let exists = self.passwords.contains_key(&user);
            let acls = self.acls.get(&user).cloned().unwrap_or_default();
            (user, InKafka { exists, acls })
        };
        let all_new = self.pods.iter().all(|pod| Some(pod) == self.secret.as_ref());
        Seen {
            records: self.records.clone(),
            secrets: secret.map(|secret| (PROCESSOR.to_owned(), secret)).into_iter().collect(),
            kafka: [in_kafka(Slot::A), in_kafka(Slot::B)].into(),
            settled: if settled && all_new { [PROCESSOR.to_owned()].into() } else { BTreeSet::new() },
            ..Seen::default()
        }
    }

    /// Carries a step out, up to its `parts`-th part; whether it came to its end.
    fn carry_out(&mut self, step: &Step, parts: usize) -> bool {
        if parts == 0 {
            return false;
        }
        match step {
            Step::Record(records) => self.records.clone_from(records),
            Step::Grant(connection, acls) | Step::Revoke(connection, acls) => {
                for acl in acls {
                    let name = acl.principal.trim_start_matches("User:").to_owned();
                    let of = self.acls.entry(User { connection: connection.clone(), name }).or_default();
                    if matches!(step, Step::Grant(..)) {
                        of.insert(acl.clone())
                    } else {
                        of.remove(acl)
                    };
                }
            }
            Step::Issue { user, .. } => {
                self.clock += 1;
                self.passwords.insert(user.clone(), self.clock);
                if parts == 1 {
                    return false;
                }
                self.secret = Some((user.name.clone(), self.clock, self.clock));
            }
            Step::Give { user, .. } => {
                let (_, password, _) = self.secret.clone().expect("there is a Secret to give from");
                self.passwords.insert(user.clone(), password);
            }
            Step::Remove(user) => {
                self.passwords.remove(user);
                if parts == 1 {
                    return false;
                }
                self.acls.remove(user);
            }
        }
        true
    }

    /// Steps until there are no more or one breaks off, which ends the operator's life.
    fn live(&mut self, desired: &Desired, mut steps: usize, parts: usize, settled: bool) {
        let mut seen = self.look(settled);
        for _ in 0..50 {
            let Some(step) = plan(desired, &seen) else { return };
            let last = steps == 0;
            if !self.carry_out(&step, if last { parts } else { usize::MAX }) || last {
                return;
            }
            steps -= 1;
            let secret = self.look(false).secrets.remove(PROCESSOR);
            seen.after(step, secret);
        }
        panic!("no end: {self:#?}");
    }

    fn everybody_is_let_in(&self, wanted: &BTreeSet<Right>) -> Result<(), TestCaseError> {
        for (name, password, _) in &self.pods {
            let user = User { connection: "main".into(), name: name.clone() };
            prop_assert_eq!(self.passwords.get(&user), Some(password), "{}", name);
            prop_assert!(self.acls.get(&user).is_some_and(|has| acls(wanted, name).is_subset(has)), "{}", name);
        }
        for user in self.passwords.keys() {
            prop_assert!(self.records.iter().any(|record| User::of(record) == *user), "{:?} is on no record", user);
        }
        Ok(())
    }

    /// Pods start with what the Secret holds.
    fn roll(&mut self, pods: usize) {
        if let Some(secret) = &self.secret {
            self.pods.iter_mut().take(pods).for_each(|pod| pod.clone_from(secret));
        }
    }

    fn rest(&mut self, desired: &Desired) {
        for _ in 0..10 {
            self.live(desired, usize::MAX, usize::MAX, false);
            self.roll(usize::MAX);
            self.live(desired, usize::MAX, usize::MAX, true);
        }
    }

    fn is_as_it_should_be(&self, desired: &Desired) -> Result<(), TestCaseError> {
        self.everybody_is_let_in(&desired.rights[PROCESSOR])?;
        prop_assert_eq!(self.passwords.len(), 1, "one user is left: {:?}", &self.passwords);
        let (name, password, _) = self.secret.clone().expect("there is a Secret");
        let user = User { connection: "main".into(), name };
        prop_assert_eq!(self.passwords.get(&user), Some(&password));
        let left: BTreeSet<&Acl> = self.acls.values().flatten().collect();
        let wanted = acls(&desired.rights[PROCESSOR], &user.name);
        prop_assert_eq!(left, wanted.iter().collect::<BTreeSet<_>>());
        let asked = desired.rotation.clone();
        let made_for = self.records.first().and_then(|record| record.rotation.clone());
        prop_assert!(asked.is_none() || asked == made_for, "{:?} was asked for, {:?} was done", asked, made_for);
        prop_assert_eq!(plan(desired, &self.look(true)), None);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Happening {
    /// The operator lives for so many steps and dies in the middle of one; whether it looks at the pods.
    Life {
        steps: usize,
        parts: usize,
        settled: bool,
    },
    Rotate(u8),
    Roll(usize),
    LoseSecret,
    LoseUser,
    LoseStatus,
    MeddleWithRights,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..6_usize, 0..3_usize, any::<bool>())
            .prop_map(|(steps, parts, settled)| Happening::Life { steps, parts, settled }),
        2 => any::<u8>().prop_map(Happening::Rotate),
        2 => (0..4_usize).prop_map(Happening::Roll),
    ]
}

fn mischief() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => happening(),
        1 => Just(Happening::LoseSecret),
        1 => Just(Happening::LoseUser),
        1 => Just(Happening::LoseStatus),
        1 => Just(Happening::MeddleWithRights),
    ]
}

fn tell(model: &mut Model, wish: &mut Desired, happening: Happening) {
    match happening {
        Happening::Life { steps, parts, settled } => model.live(wish, steps, parts, settled),
        Happening::Rotate(value) => wish.rotation = Some(value.to_string()),
        Happening::Roll(pods) => model.roll(pods),
        Happening::LoseSecret => model.secret = None,
        Happening::LoseUser => drop(model.passwords.pop_first()),
        Happening::LoseStatus => model.records.clear(),
        Happening::MeddleWithRights => {
            for (user, acls) in &mut model.acls {
                acls.pop_first();
                acls.insert(right("secrets").of(&user.name));
            }
        }
    }
}

fn begin() -> (Model, Desired) {
    let wish = desired(&["events", "dlq"]);
    let mut model = Model::default();
    model.live(&wish, usize::MAX, usize::MAX, false);
    model.pods = vec![model.secret.clone().expect("there is a Secret"); 3];
    (model, wish)
}

proptest! {
    #[test]
    fn wherever_the_operator_dies_every_pod_is_let_in_at_all_times_and_the_rotation_comes_to_its_end(
        happenings in prop::collection::vec(happening(), 0..40)
    ) {
        let (mut model, mut wish) = begin();
        for happening in happenings {
            tell(&mut model, &mut wish, happening);
            model.everybody_is_let_in(&wish.rights[PROCESSOR])?;
        }
        model.rest(&wish);
        model.is_as_it_should_be(&wish)?;
    }

    #[test]
    fn whatever_others_do_it_ends_as_it_should_be(happenings in prop::collection::vec(mischief(), 0..40)) {
        let (mut model, mut wish) = begin();
        for happening in happenings {
            tell(&mut model, &mut wish, happening);
        }
        model.rest(&wish);
        model.is_as_it_should_be(&wish)?;
    }
}
