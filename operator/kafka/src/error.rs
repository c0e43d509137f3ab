//! What went wrong, while what was being done to what, in Kafka's own words.

use std::fmt;

use crate::ErrorCode;

/// The requests that are sent; the label of their metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// Reads the cluster's id and brokers.
    DescribeCluster,
    /// Reads topics.
    DescribeTopics,
    /// Creates topics.
    CreateTopics,
    /// Adds partitions.
    CreatePartitions,
    /// Deletes topics by id.
    DeleteTopics,
    /// Reads topic configurations.
    DescribeConfigs,
    /// Changes topic configurations.
    AlterConfigs,
    /// Reads groups.
    DescribeGroups,
    /// Reads committed offsets.
    CommittedOffsets,
    /// Reads offsets of partitions.
    ListOffsets,
    /// Looks for records.
    FetchRecords,
    /// Reads which users there are.
    ListUsers,
    /// Reads single users.
    DescribeUsers,
    /// Makes users and sets their passwords.
    AlterUsers,
    /// Deletes users.
    DeleteUsers,
    /// Reads ACLs.
    DescribeAcls,
    /// Creates ACLs.
    CreateAcls,
    /// Deletes ACLs.
    DeleteAcls,
    /// Reads records.
    ReadRecords,
    /// Sets committed offsets.
    SetOffsets,
    /// Forgets committed offsets.
    ForgetOffsets,
    /// Writes in transactions.
    Transact,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::DescribeCluster,
        Self::DescribeTopics,
        Self::CreateTopics,
        Self::CreatePartitions,
        Self::DeleteTopics,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::DescribeGroups,
        Self::CommittedOffsets,
        Self::ListOffsets,
        Self::FetchRecords,
        Self::ListUsers,
        Self::DescribeUsers,
        Self::AlterUsers,
        Self::DeleteUsers,
        Self::DescribeAcls,
        Self::CreateAcls,
        Self::DeleteAcls,
        Self::ReadRecords,
        Self::SetOffsets,
        Self::ForgetOffsets,
        Self::Transact,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::DescribeCluster => "describe_cluster",
            Self::DescribeTopics => "describe_topics",
            Self::CreateTopics => "create_topics",
            Self::CreatePartitions => "create_partitions",
            Self::DeleteTopics => "delete_topics",
            Self::DescribeConfigs => "describe_configs",
            Self::AlterConfigs => "alter_configs",
            Self::DescribeGroups => "describe_groups",
            Self::CommittedOffsets => "committed_offsets",
            Self::ListOffsets => "list_offsets",
            Self::FetchRecords => "fetch_records",
            Self::ListUsers => "list_users",
            Self::DescribeUsers => "describe_users",
            Self::AlterUsers => "alter_users",
            Self::DeleteUsers => "delete_users",
            Self::DescribeAcls => "describe_acls",
            Self::CreateAcls => "create_acls",
            Self::DeleteAcls => "delete_acls",
            Self::ReadRecords => "read_records",
            Self::SetOffsets => "set_offsets",
            Self::ForgetOffsets => "forget_offsets",
            Self::Transact => "transact",
        }
    }

    /// Whether it changes the cluster (when it does not only validate).
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::CreateTopics
                | Self::CreatePartitions
                | Self::DeleteTopics
                | Self::AlterConfigs
                | Self::AlterUsers
                | Self::DeleteUsers
                | Self::CreateAcls
                | Self::DeleteAcls
                | Self::SetOffsets
                | Self::ForgetOffsets
                | Self::Transact
        )
    }

    fn doing(self) -> &'static str {
        match self {
            Self::DescribeCluster => "describing the cluster",
            Self::DescribeTopics => "describing topic",
            Self::CreateTopics => "creating topic",
            Self::CreatePartitions => "adding partitions to topic",
            Self::DeleteTopics => "deleting the topic with id",
            Self::DescribeConfigs => "reading the configuration of topic",
            Self::AlterConfigs => "changing the configuration of topic",
            Self::DescribeGroups => "describing group",
            Self::CommittedOffsets => "reading the committed offsets of group",
            Self::ListOffsets => "reading offsets of partition",
            Self::FetchRecords => "looking for records of partition",
            Self::ListUsers => "listing users",
            Self::DescribeUsers => "describing user",
            Self::AlterUsers => "setting the password of user",
            Self::DeleteUsers => "deleting user",
            Self::DescribeAcls => "reading the ACLs",
            Self::CreateAcls => "creating the ACL",
            Self::DeleteAcls => "deleting ACLs:",
            Self::ReadRecords => "reading records of partition",
            Self::SetOffsets => "setting the committed offset of partition",
            Self::ForgetOffsets => "forgetting the committed offset of partition",
            Self::Transact => "writing as transactional id",
        }
    }
}

/// What was being done to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The request.
    pub api: Api,
    /// Its item: a topic's name or id, a group, a partition, a user, an ACL; empty for the cluster.
    pub subject: String,
}

impl Action {
    pub(crate) fn new(api: Api, subject: impl fmt::Display) -> Self {
        Self { api, subject: subject.to_string() }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.api.doing())?;
        if self.subject.is_empty() { Ok(()) } else { write!(f, " {}", self.subject) }
    }
}

/// Why something could not be done. No variant carries a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Kafka answered, and the answer is no.
    #[error("{action}: {code}: {message}")]
    Refused {
        /// What was being done.
        action: Action,
        /// The protocol's error.
        code: ErrorCode,
        /// The broker's own message, or an explanation where the broker gives none.
        message: String,
    },
    /// The broker does not accept who we say we are.
    #[error("{action}: {code}: {message}")]
    Authentication {
        /// What was being done.
        action: Action,
        /// `SASL_AUTHENTICATION_FAILED`, or `UNSUPPORTED_SASL_MECHANISM`.
        code: ErrorCode,
        /// The broker's own message.
        message: String,
    },
    /// We do not accept who the broker says it is, or TLS failed otherwise.
    #[error("{action}: TLS with the broker failed: {message}")]
    Tls {
        /// What was being done.
        action: Action,
        /// What failed.
        message: String,
    },
    /// The connection's settings cannot be used: an unreadable CA file, an empty address.
    #[error("{action}: the connection's settings cannot be used: {message}")]
    Settings {
        /// What was being done.
        action: Action,
        /// What is wrong with them.
        message: String,
    },
    /// No broker could be reached, or the connection broke. A write may have been applied.
    #[error("{action}: no broker could be reached: {message}")]
    Unreachable {
        /// What was being done.
        action: Action,
        /// What the network said.
        message: String,
    },
    /// The deadline passed without an answer. A write may have been applied.
    #[error("{action}: no answer in time: {message}")]
    Deadline {
        /// What was being done.
        action: Action,
        /// What was waited for.
        message: String,
    },
    /// The answer makes no sense: a defect here, in the client library or in the broker.
    #[error("{action}: unexpected answer: {message}")]
    Unexpected {
        /// What was being done.
        action: Action,
        /// What is odd about it.
        message: String,
    },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Passes by itself: repeat with backoff.
    Transient,
    /// The connection, its credentials or its certificates: nothing is wrong with the object. Repeat with backoff, and say so.
    Connection,
    /// What was asked for is refused: say so, and wait until it changes.
    User,
    /// Should not happen: count it, and repeat with backoff.
    Bug,
}

impl AdminError {
    /// What was being done to what.
    pub fn action(&self) -> &Action {
        match self {
            Self::Refused { action, .. }
            | Self::Authentication { action, .. }
            | Self::Tls { action, .. }
            | Self::Settings { action, .. }
            | Self::Unreachable { action, .. }
            | Self::Deadline { action, .. }
            | Self::Unexpected { action, .. } => action,
        }
    }

    /// Kafka's error, when Kafka gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::Authentication { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The broker's or the client's message, without what was being done.
    pub fn message(&self) -> &str {
        match self {
            Self::Refused { message, .. }
            | Self::Authentication { message, .. }
            | Self::Tls { message, .. }
            | Self::Settings { message, .. }
            | Self::Unreachable { message, .. }
            | Self::Deadline { message, .. }
            | Self::Unexpected { message, .. } => message,
        }
    }

    /// Whether the broker does not know the topic, by name or by id.
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID))
    }

    /// Whether there is no such group.
    pub fn is_unknown_group(&self) -> bool {
        self.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND)
    }

    /// Whether there is no such user.
    pub fn is_unknown_user(&self) -> bool {
        self.code() == Some(ErrorCode::RESOURCE_NOT_FOUND)
    }

    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused { code, .. } if code.is_retriable() => ErrorClass::Transient,
            Self::Refused { code: ErrorCode::UNKNOWN_SERVER_ERROR, .. } | Self::Unexpected { .. } => ErrorClass::Bug,
            Self::Refused { code, .. } if code.name().is_none() => ErrorClass::Bug,
            Self::Refused { .. } => ErrorClass::User,
            Self::Deadline { .. } => ErrorClass::Transient,
            Self::Authentication { .. } | Self::Tls { .. } | Self::Settings { .. } | Self::Unreachable { .. } => {
                ErrorClass::Connection
            }
        }
    }

    /// The same error for another item: what hit a whole request is told to each.
    pub(crate) fn about(mut self, subject: impl fmt::Display) -> Self {
        let (Self::Refused { action, .. }
        | Self::Authentication { action, .. }
        | Self::Tls { action, .. }
        | Self::Settings { action, .. }
        | Self::Unreachable { action, .. }
        | Self::Deadline { action, .. }
        | Self::Unexpected { action, .. }) = &mut self;
        action.subject = subject.to_string();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode) -> AdminError {
        AdminError::Refused {
            action: Action::new(Api::CreateTopics, "orders"),
            code,
            message: "Replication factor 5 is larger than 3 brokers.".to_owned(),
        }
    }

    #[test]
    fn an_error_says_what_was_being_done_to_what_and_keeps_the_protocol_name() {
        assert_eq!(
            refused(ErrorCode::INVALID_REPLICATION_FACTOR).to_string(),
            "creating topic orders: INVALID_REPLICATION_FACTOR: Replication factor 5 is larger than 3 brokers."
        );
    }

    #[test]
    fn errors_are_sorted_by_what_helps_against_them() {
        for (code, class) in [
            (ErrorCode::INVALID_REPLICATION_FACTOR, ErrorClass::User),
            (ErrorCode::INVALID_CONFIG, ErrorClass::User),
            (ErrorCode::POLICY_VIOLATION, ErrorClass::User),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorClass::User),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorClass::Transient),
            (ErrorCode::REQUEST_TIMED_OUT, ErrorClass::Transient),
            (ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorClass::Transient),
            (ErrorCode::UNKNOWN_SERVER_ERROR, ErrorClass::Bug),
            (ErrorCode::from_wire(999), ErrorClass::Bug),
        ] {
            assert_eq!(refused(code).class(), class, "{code}");
        }
    }
}
