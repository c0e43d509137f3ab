//! Users and ACLs of the twin, with as much of Kafka's authorizer as tells whether an ACL means what it should.

use std::collections::BTreeSet;

use tidegate_settings::binding::{ScramMechanism, Secret};

use super::{
    Refusal, Twin,
    state::{State, refuse},
};
use crate::{
    Acl, AclFilter, Credential, ErrorCode, Operation, PatternType, Permission, ResourceType, access::principal,
};

/// What upserted credentials look like.
const CREDENTIAL: Credential = Credential { mechanism: ScramMechanism::Sha512, iterations: 4_096 };

impl State {
    pub(super) fn credentials(&self, user: &str) -> Result<Vec<Credential>, Refusal> {
        match self.users.get(user) {
            Some(_) => Ok(vec![CREDENTIAL]),
            None => {
                let message = format!("Attempt to describe a user credential that does not exist: {user}");
                refuse(ErrorCode::RESOURCE_NOT_FOUND, message)
            }
        }
    }

    pub(super) fn upsert_user(&mut self, user: &str, password: &Secret) -> Result<(), Refusal> {
        if user.is_empty() {
            return refuse(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty");
        }
        self.users.insert(user.to_owned(), password.clone());
        Ok(())
    }

    pub(super) fn delete_user(&mut self, user: &str) -> Result<(), Refusal> {
        match self.users.remove(user) {
            Some(_) => Ok(()),
            None => refuse(ErrorCode::RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"),
        }
    }

    pub(super) fn create_acl(&mut self, acl: &Acl) -> Result<(), Refusal> {
        if acl.resource == ResourceType::CLUSTER && acl.name != Acl::CLUSTER {
            let message = format!("The only valid name for the CLUSTER resource is {}", Acl::CLUSTER);
            return refuse(ErrorCode::INVALID_REQUEST, message);
        }
        if !acl.principal.contains(':') {
            let message = format!("Could not parse principal from `{}`", acl.principal);
            return refuse(ErrorCode::INVALID_REQUEST, message);
        }
        self.acls.insert(acl.clone());
        Ok(())
    }

    pub(super) fn delete_acls(&mut self, filter: &AclFilter) -> BTreeSet<Acl> {
        let deleted: BTreeSet<Acl> = self.acls.iter().filter(|acl| filter.matches(acl)).cloned().collect();
        self.acls.retain(|acl| !deleted.contains(acl));
        deleted
    }
}

impl Twin {
    /// Whether a user may log in with a password.
    pub fn lets_in(&self, user: &str, password: &str) -> bool {
        self.state().users.get(user).is_some_and(|its| its.expose() == password)
    }

    /// Names of the users that exist.
    pub fn user_names(&self) -> Vec<String> {
        self.state().users.keys().cloned().collect()
    }

    /// Every ACL.
    pub fn acls(&self) -> BTreeSet<Acl> {
        self.state().acls.clone()
    }

    /// What the authorizer says: nothing denies it, and something allows it.
    pub fn may(&self, user: &str, operation: Operation, resource: ResourceType, name: &str) -> bool {
        let state = self.state();
        let about = |acl: &&Acl| {
            let named = match acl.pattern {
                PatternType::LITERAL => acl.name == name || acl.name == "*",
                PatternType::PREFIXED => name.starts_with(&acl.name),
                _ => false,
            };
            named && acl.resource == resource && [principal(user).as_str(), "User:*"].contains(&acl.principal.as_str())
        };
        let says = |permission| state.acls.iter().filter(about).filter(move |acl| acl.permission == permission);
        let denied = says(Permission::DENY).any(|acl| [operation, Operation::ALL].contains(&acl.operation));
        !denied && says(Permission::ALLOW).any(|acl| implies(acl.operation, operation))
    }
}

fn implies(allowed: Operation, wanted: Operation) -> bool {
    const LOOK: [Operation; 4] = [Operation::READ, Operation::WRITE, Operation::DELETE, Operation::ALTER];
    allowed == wanted
        || allowed == Operation::ALL
        || (wanted == Operation::DESCRIBE && LOOK.contains(&allowed))
        || (wanted == Operation::DESCRIBE_CONFIGS && allowed == Operation::ALTER_CONFIGS)
}
