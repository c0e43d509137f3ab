//! The next step towards the users that a pipeline should have. Pure.
//!
//! Every user is on record in the status before it is made and until it is gone. A processor's Secret is the truth about its password:
//! a new one goes to Kafka first, so that whoever reads the Secret is let in, then into the Secret, and `secretVersion` on record says
//! which version of the Secret Kafka is known to agree with; where it is another one, Kafka is given the Secret's password again. So the
//! operator may stop between any two steps, and lose the answer to any: what it finds says how to go on.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::pipeline::{KafkaUserStatus, UserPhase};
use tidegate_kafka::Acl;

use super::{
    names::{Owner, Slot},
    rights::{Right, acls},
};

/// What there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Whose users they are.
    pub owner: Owner,
    /// The Kafka connection.
    pub connection: String,
    /// Rights of each processor's user. A processor that is not here has none.
    pub rights: BTreeMap<String, BTreeSet<Right>>,
    /// Processors whose users are looked for, beside those that are on record.
    pub known: BTreeSet<String>,
    /// The value of the annotation that asks for other users.
    pub rotation: Option<String>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is on record.
    pub records: BTreeSet<KafkaUserStatus>,
    /// Secrets of processors.
    pub secrets: BTreeMap<String, SecretSeen>,
    /// Users in Kafka. One that is not here was not looked at.
    pub kafka: BTreeMap<User, InKafka>,
    /// Processors all of whose pods, if there are any, run what the spec says now. What only pods of before need can go.
    pub settled: BTreeSet<String>,
    /// Rights that pods of before may still need.
    pub lingering: BTreeMap<String, BTreeSet<Right>>,
    /// The version of the Secret that was last found, or made, to agree with Kafka.
    pub agreed: BTreeMap<User, String>,
}

/// A user of a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The Kafka connection.
    pub connection: String,
    /// Name.
    pub name: String,
}

impl User {
    /// The user that a record is about.
    pub fn of(record: &KafkaUserStatus) -> Self {
        Self { connection: record.connection.clone(), name: record.username.clone() }
    }
}

/// A processor's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSeen {
    /// The user that it holds; none: it does not hold all that it should.
    pub username: Option<String>,
    /// resourceVersion.
    pub version: String,
}

/// A user in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InKafka {
    /// Whether it can log in.
    pub exists: bool,
    /// What is said of it.
    pub acls: BTreeSet<Acl>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put on record.
    Record(BTreeSet<KafkaUserStatus>),
    /// Create ACLs.
    Grant(String, BTreeSet<Acl>),
    /// Delete ACLs.
    Revoke(String, BTreeSet<Acl>),
    /// Draw a password, give it to Kafka, and write it into the processor's Secret.
    Issue {
        /// The processor.
        processor: String,
        /// Its user.
        user: User,
    },
    /// Give Kafka the password of the processor's Secret.
    Give {
        /// The processor.
        processor: String,
        /// Its user.
        user: User,
    },
    /// Delete a user with all that is said of it.
    Remove(User),
}

/// The next step; none: everything is as it should be, or waits for pods.
pub fn plan(desired: &Desired, seen: &Seen) -> Option<Step> {
    let records = records(desired, seen);
    if records != seen.records {
        return Some(Step::Record(records));
    }
    let mut revoked = BTreeSet::new();
    let mut granted = BTreeSet::new();
    for record in seen.records.iter().filter(|record| record.connection == desired.connection) {
        let Some(rights) = desired.rights.get(&record.processor) else { continue };
        let Some(user) = seen.kafka.get(&User::of(record)) else { continue };
        if record.phase == UserPhase::Former && !user.exists {
            continue;
        }
        let wanted = acls(rights, &record.username);
        granted.extend(wanted.difference(&user.acls).cloned());
        let spared = match seen.lingering.get(&record.processor) {
            Some(lingering) if !seen.settled.contains(&record.processor) => acls(lingering, &record.username),
            _ => BTreeSet::new(),
        };
        revoked.extend(user.acls.difference(&wanted).filter(|acl| !spared.contains(acl)).cloned());
    }
    if !granted.is_empty() {
        return Some(Step::Grant(desired.connection.clone(), granted));
    }
    if let Some(step) = desired.rights.keys().find_map(|processor| password(processor, seen)) {
        return Some(step);
    }
    if !revoked.is_empty() {
        return Some(Step::Revoke(desired.connection.clone(), revoked));
    }
    let gone = |record: &&KafkaUserStatus| {
        record.phase == UserPhase::Former && seen.settled.contains(&record.processor) && !is_gone(record, seen)
    };
    seen.records.iter().find(gone).map(|record| Step::Remove(User::of(record)))
}

/// What is to be on record.
fn records(desired: &Desired, seen: &Seen) -> BTreeSet<KafkaUserStatus> {
    let mut records: BTreeMap<User, KafkaUserStatus> =
        seen.records.iter().map(|record| (User::of(record), record.clone())).collect();
    for record in records.values_mut() {
        if record.connection != desired.connection || !desired.rights.contains_key(&record.processor) {
            record.phase = UserPhase::Former;
        }
    }
    // One of ours that nobody remembers: a status that was lost, say.
    for processor in &desired.known {
        for name in desired.owner.users(processor) {
            let user = User { connection: desired.connection.clone(), name };
            let found = seen.kafka.get(&user).is_some_and(|found| *found != InKafka::default());
            if found && !records.contains_key(&user) {
                records.insert(user.clone(), record(processor, &user, UserPhase::Former));
            }
        }
    }
    for processor in desired.rights.keys() {
        Lives { desired, seen, processor, records: &mut records }.go_on();
    }
    for (user, record) in &mut records {
        if let Some(version) = seen.agreed.get(user) {
            record.secret_version = Some(version.clone());
        }
    }
    let over = |record: &KafkaUserStatus| {
        record.phase == UserPhase::Former && seen.settled.contains(&record.processor) && is_gone(record, seen)
    };
    records.into_values().filter(|record| !over(record)).collect()
}

fn record(processor: &str, user: &User, phase: UserPhase) -> KafkaUserStatus {
    KafkaUserStatus {
        username: user.name.clone(),
        connection: user.connection.clone(),
        processor: processor.to_owned(),
        phase,
        ..KafkaUserStatus::default()
    }
}

/// It was looked for, and neither it nor any ACL of it was found.
fn is_gone(record: &KafkaUserStatus, seen: &Seen) -> bool {
    seen.kafka.get(&User::of(record)).is_some_and(|found| *found == InKafka::default())
}

/// The lives of one processor's two users.
struct Lives<'a> {
    desired: &'a Desired,
    seen: &'a Seen,
    processor: &'a str,
    records: &'a mut BTreeMap<User, KafkaUserStatus>,
}

impl Lives<'_> {
    fn user(&self, slot: Slot) -> User {
        User { connection: self.desired.connection.clone(), name: self.desired.owner.user(self.processor, slot) }
    }

    fn phase(&self, slot: Slot) -> Option<UserPhase> {
        self.records.get(&self.user(slot)).map(|record| record.phase)
    }

    fn in_phase(&self, phase: UserPhase) -> Option<Slot> {
        [Slot::A, Slot::B].into_iter().find(|slot| self.phase(*slot) == Some(phase))
    }

    /// The one that the Secret holds.
    fn held(&self) -> Option<Slot> {
        let username = self.seen.secrets.get(self.processor)?.username.as_deref()?;
        self.desired.owner.slot(self.processor, username)
    }

    fn go_on(&mut self) {
        let Some(active) = self.in_phase(UserPhase::Active) else {
            // What pods may know already goes on; otherwise the first that nobody had before.
            let fresh = [Slot::A, Slot::B].into_iter().find(|slot| self.phase(*slot).is_none());
            let slot = self.held().or(self.in_phase(UserPhase::Next)).or(fresh).unwrap_or(Slot::A);
            self.enter(slot, UserPhase::Active);
            return;
        };
        let other = active.other();
        match self.phase(other) {
            // The Secret was handed over: the other is the one that pods get from now on.
            Some(UserPhase::Next) if self.held() == Some(other) => {
                self.turn(active, UserPhase::Former);
                self.turn(other, UserPhase::Active);
            }
            None if self.is_asked() => self.enter(other, UserPhase::Next),
            _ => {}
        }
    }

    /// Whether another user is asked for than the active one, which was made for an earlier value of the annotation.
    fn is_asked(&self) -> bool {
        let active = self.in_phase(UserPhase::Active).and_then(|slot| self.records.get(&self.user(slot)));
        self.desired.rotation.is_some() && active.is_some_and(|active| active.rotation != self.desired.rotation)
    }

    fn enter(&mut self, slot: Slot, phase: UserPhase) {
        let user = self.user(slot);
        let mut entered = record(self.processor, &user, phase);
        entered.rotation.clone_from(&self.desired.rotation);
        self.records.insert(user, entered);
    }

    fn turn(&mut self, slot: Slot, phase: UserPhase) {
        let user = self.user(slot);
        if let Some(record) = self.records.get_mut(&user) {
            record.phase = phase;
        }
    }
}

/// What has to be done about a processor's password.
fn password(processor: &str, seen: &Seen) -> Option<Step> {
    let in_phase = |phase| seen.records.iter().find(|record| record.processor == processor && record.phase == phase);
    let wanted = in_phase(UserPhase::Next).or_else(|| in_phase(UserPhase::Active))?;
    let (user, processor) = (User::of(wanted), processor.to_owned());
    let held = seen.secrets.get(&processor).filter(|secret| secret.username.as_deref() == Some(&wanted.username));
    let Some(secret) = held else { return Some(Step::Issue { processor, user }) };
    let agrees = wanted.secret_version.as_deref() == Some(&secret.version);
    let exists = seen.kafka.get(&user).is_none_or(|found| found.exists);
    (!agrees || !exists).then_some(Step::Give { processor, user })
}

impl Seen {
    /// What there is after a step, which is what would be found if it were looked at again. `secret`: the Secret, after [`Step::Issue`]
    /// wrote it.
    pub fn after(&mut self, step: Step, secret: Option<SecretSeen>) {
        match step {
            Step::Record(records) => self.records = records,
            Step::Grant(connection, acls) => {
                for acl in acls {
                    if let Some(found) = self.found(&connection, &acl) {
                        found.acls.insert(acl);
                    }
                }
            }
            Step::Revoke(connection, acls) => {
                for acl in acls {
                    if let Some(found) = self.found(&connection, &acl) {
                        found.acls.remove(&acl);
                    }
                }
            }
            Step::Issue { processor, user } => {
                self.kafka.entry(user.clone()).or_default().exists = true;
                // Pods have yet to begin with what the Secret holds now.
                self.settled.remove(&processor);
                if let Some(secret) = secret {
                    self.agreed.insert(user, secret.version.clone());
                    self.secrets.insert(processor, secret);
                }
            }
            Step::Give { processor, user } => {
                self.kafka.entry(user.clone()).or_default().exists = true;
                if let Some(secret) = self.secrets.get(&processor) {
                    self.agreed.insert(user, secret.version.clone());
                }
            }
            Step::Remove(user) => {
                self.kafka.insert(user, InKafka::default());
            }
        }
    }

    fn found(&mut self, connection: &str, acl: &Acl) -> Option<&mut InKafka> {
        let name = acl.principal.strip_prefix("User:")?.to_owned();
        self.kafka.get_mut(&User { connection: connection.to_owned(), name })
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
