//! Who may do what: users with SCRAM credentials, and access control lists with the numbers that they have in the protocol.
//!
//! Numbers are those of `org.apache.kafka.common.acl` and `...resource` (Kafka 4.3; KIP-11, KIP-290), kept as they are: an ACL of a kind
//! that is newer than this list reads back, compares and deletes like any other.

use std::fmt;

use tidegate_settings::binding::ScramMechanism;

/// What Kafka knows of a user's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// How the user logs in.
    pub mechanism: ScramMechanism,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

/// A number of the protocol with its names.
macro_rules! numbered {
    ($(#[$about:meta])* $type:ident { $($(#[$what:meta])* $constant:ident = $number:literal $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(i8);

        impl $type {
            $($(#[$what])* pub const $constant: Self = Self($number);)+

            /// The one with this number on the wire.
            pub const fn from_wire(number: i8) -> Self {
                Self(number)
            }

            /// The number on the wire.
            pub const fn wire(self) -> i8 {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$constant => f.write_str($name),)+
                    Self(number) => write!(f, concat!(stringify!($type), "({})"), number),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

numbered! {
    /// What an ACL is about.
    ResourceType {
        /// A topic.
        TOPIC = 2 "topic",
        /// A consumer group.
        GROUP = 3 "group",
        /// The cluster itself; its only name is [`Acl::CLUSTER`].
        CLUSTER = 4 "cluster",
        /// A transactional id.
        TRANSACTIONAL_ID = 5 "transactional id",
        /// A delegation token.
        DELEGATION_TOKEN = 6 "delegation token",
        /// A user.
        USER = 7 "user",
    }
}

numbered! {
    /// How an ACL's name is meant.
    PatternType {
        /// It is the resource's name; `*` is every name.
        LITERAL = 3 "literal",
        /// The resource's name begins with it.
        PREFIXED = 4 "prefixed",
    }
}

numbered! {
    /// What is allowed or denied.
    Operation {
        /// Everything.
        ALL = 2 "All",
        /// Fetch; commit as a group.
        READ = 3 "Read",
        /// Produce; use a transactional id.
        WRITE = 4 "Write",
        /// Create topics.
        CREATE = 5 "Create",
        /// Delete a topic, records, a group.
        DELETE = 6 "Delete",
        /// Change; on the cluster: users and ACLs too.
        ALTER = 7 "Alter",
        /// Look at. Read, Write, Delete and Alter imply it.
        DESCRIBE = 8 "Describe",
        /// Act as a broker.
        CLUSTER_ACTION = 9 "ClusterAction",
        /// Read configurations.
        DESCRIBE_CONFIGS = 10 "DescribeConfigs",
        /// Change configurations.
        ALTER_CONFIGS = 11 "AlterConfigs",
        /// Produce idempotently (before Kafka 2.8).
        IDEMPOTENT_WRITE = 12 "IdempotentWrite",
        /// Create delegation tokens.
        CREATE_TOKENS = 13 "CreateTokens",
        /// Read delegation tokens.
        DESCRIBE_TOKENS = 14 "DescribeTokens",
        /// Take part in a transaction of two phases (KIP-939).
        TWO_PHASE_COMMIT = 15 "TwoPhaseCommit",
    }
}

numbered! {
    /// Whether it is allowed or denied.
    Permission {
        /// Denied, whatever else allows it.
        DENY = 2 "may not",
        /// Allowed.
        ALLOW = 3 "may",
    }
}

/// One access control entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Who: `User:name`, or `User:*`.
    pub principal: String,
    /// From where: an address, or `*`.
    pub host: String,
    /// Allowed or denied.
    pub permission: Permission,
    /// What.
    pub operation: Operation,
    /// On what kind of thing.
    pub resource: ResourceType,
    /// How the name is meant.
    pub pattern: PatternType,
    /// The thing's name, or what it begins with.
    pub name: String,
}

impl Acl {
    /// The cluster's name as a resource.
    pub const CLUSTER: &str = "kafka-cluster";

    /// Allows a user something, from any host.
    pub fn allow(
        user: &str,
        operation: Operation,
        resource: ResourceType,
        pattern: PatternType,
        name: impl Into<String>,
    ) -> Self {
        Self {
            principal: principal(user),
            host: "*".to_owned(),
            permission: Permission::ALLOW,
            operation,
            resource,
            pattern,
            name: name.into(),
        }
    }
}

/// How ACLs name a user.
pub(crate) fn principal(user: &str) -> String {
    format!("User:{user}")
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, host, permission, operation, resource, pattern, name } = self;
        write!(f, "{principal} {permission} {operation} {pattern} {resource} {name} from {host}")
    }
}

/// Which ACLs are meant: those in which every part is as given. A part that is not given may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclFilter {
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// Allowed or denied.
    pub permission: Option<Permission>,
    /// What.
    pub operation: Option<Operation>,
    /// On what kind of thing.
    pub resource: Option<ResourceType>,
    /// How the name is meant.
    pub pattern: Option<PatternType>,
    /// The name as it stands in the ACL.
    pub name: Option<String>,
}

impl AclFilter {
    /// All that is said of a user.
    pub fn of_user(user: &str) -> Self {
        Self { principal: Some(principal(user)), ..Self::default() }
    }

    /// Whether it means this one.
    pub fn matches(&self, acl: &Acl) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, seen: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == seen)
        }
        is(&self.principal, &acl.principal)
            && is(&self.host, &acl.host)
            && is(&self.permission, &acl.permission)
            && is(&self.operation, &acl.operation)
            && is(&self.resource, &acl.resource)
            && is(&self.pattern, &acl.pattern)
            && is(&self.name, &acl.name)
    }
}

impl From<&Acl> for AclFilter {
    /// This one and no other.
    fn from(acl: &Acl) -> Self {
        let acl = acl.clone();
        Self {
            principal: Some(acl.principal),
            host: Some(acl.host),
            permission: Some(acl.permission),
            operation: Some(acl.operation),
            resource: Some(acl.resource),
            pattern: Some(acl.pattern),
            name: Some(acl.name),
        }
    }
}

impl fmt::Display for AclFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part(part: &Option<impl fmt::Display>) -> String {
            part.as_ref().map_or_else(|| "(any)".to_owned(), ToString::to_string)
        }
        let Self { principal, host, permission, operation, resource, pattern, name } = self;
        let (who, whether, what) = (part(principal), part(permission), part(operation));
        write!(f, "{who} {whether} {what} {} {} {} from {}", part(pattern), part(resource), part(name), part(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl() -> Acl {
        Acl::allow("ada", Operation::READ, ResourceType::TOPIC, PatternType::PREFIXED, "orders.")
    }

    #[test]
    fn an_acl_is_a_sentence_and_a_kind_newer_than_this_list_says_its_number() {
        assert_eq!(acl().to_string(), "User:ada may Read prefixed topic orders. from *");
        let newer = Acl { operation: Operation::from_wire(99), permission: Permission::DENY, ..acl() };
        assert_eq!(newer.to_string(), "User:ada may not Operation(99) prefixed topic orders. from *");
        assert_eq!(AclFilter::of_user("ada").to_string(), "User:ada (any) (any) (any) (any) (any) from (any)");
    }

    #[test]
    fn a_filter_means_every_acl_that_differs_only_where_it_says_nothing() {
        let others = [
            Acl { principal: "User:bob".into(), ..acl() },
            Acl { host: "10.0.0.1".into(), ..acl() },
            Acl { permission: Permission::DENY, ..acl() },
            Acl { operation: Operation::WRITE, ..acl() },
            Acl { resource: ResourceType::GROUP, ..acl() },
            Acl { pattern: PatternType::LITERAL, ..acl() },
            Acl { name: "orders".into(), ..acl() },
        ];
        assert!(AclFilter::from(&acl()).matches(&acl()));
        for other in &others {
            assert!(!AclFilter::from(&acl()).matches(other), "{other}");
            assert!(AclFilter::default().matches(other), "{other}");
            assert_eq!(AclFilter::of_user("ada").matches(other), other.principal == "User:ada", "{other}");
        }
    }
}
