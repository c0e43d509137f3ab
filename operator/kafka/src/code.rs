//! Kafka's protocol error codes and their names, as `org.apache.kafka.common.protocol.Errors` gives them (Kafka 4.3).

use std::fmt;

/// An error code of the Kafka protocol. `Display` is the protocol's own name for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(i16);

/// Names of the codes from 0 up.
const NAMES: &[&str] = &[
    "NONE",
    "OFFSET_OUT_OF_RANGE",
    "CORRUPT_MESSAGE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_FETCH_SIZE",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "MESSAGE_TOO_LARGE",
    "STALE_CONTROLLER_EPOCH",
    "OFFSET_METADATA_TOO_LARGE",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "INVALID_TOPIC_EXCEPTION",
    "RECORD_LIST_TOO_LARGE",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "INVALID_REQUIRED_ACKS",
    "ILLEGAL_GENERATION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "UNKNOWN_MEMBER_ID",
    "INVALID_SESSION_TIMEOUT",
    "REBALANCE_IN_PROGRESS",
    "INVALID_COMMIT_OFFSET_SIZE",
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "INVALID_TIMESTAMP",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
    "UNSUPPORTED_VERSION",
    "TOPIC_ALREADY_EXISTS",
    "INVALID_PARTITIONS",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_REPLICA_ASSIGNMENT",
    "INVALID_CONFIG",
    "NOT_CONTROLLER",
    "INVALID_REQUEST",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    "POLICY_VIOLATION",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "DUPLICATE_SEQUENCE_NUMBER",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "INVALID_TRANSACTION_TIMEOUT",
    "CONCURRENT_TRANSACTIONS",
    "TRANSACTION_COORDINATOR_FENCED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "SECURITY_DISABLED",
    "OPERATION_NOT_ATTEMPTED",
    "KAFKA_STORAGE_ERROR",
    "LOG_DIR_NOT_FOUND",
    "SASL_AUTHENTICATION_FAILED",
    "UNKNOWN_PRODUCER_ID",
    "REASSIGNMENT_IN_PROGRESS",
    "DELEGATION_TOKEN_AUTH_DISABLED",
    "DELEGATION_TOKEN_NOT_FOUND",
    "DELEGATION_TOKEN_OWNER_MISMATCH",
    "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
    "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
    "DELEGATION_TOKEN_EXPIRED",
    "INVALID_PRINCIPAL_TYPE",
    "NON_EMPTY_GROUP",
    "GROUP_ID_NOT_FOUND",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "LISTENER_NOT_FOUND",
    "TOPIC_DELETION_DISABLED",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "UNSUPPORTED_COMPRESSION_TYPE",
    "STALE_BROKER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "MEMBER_ID_REQUIRED",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "GROUP_MAX_SIZE_REACHED",
    "FENCED_INSTANCE_ID",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "ELECTION_NOT_NEEDED",
    "NO_REASSIGNMENT_IN_PROGRESS",
    "GROUP_SUBSCRIBED_TO_TOPIC",
    "INVALID_RECORD",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "PRODUCER_FENCED",
    "RESOURCE_NOT_FOUND",
    "DUPLICATE_RESOURCE",
    "UNACCEPTABLE_CREDENTIAL",
    "INCONSISTENT_VOTER_SET",
    "INVALID_UPDATE_VERSION",
    "FEATURE_UPDATE_FAILED",
    "PRINCIPAL_DESERIALIZATION_FAILURE",
    "SNAPSHOT_NOT_FOUND",
    "POSITION_OUT_OF_RANGE",
    "UNKNOWN_TOPIC_ID",
    "DUPLICATE_BROKER_REGISTRATION",
    "BROKER_ID_NOT_REGISTERED",
    "INCONSISTENT_TOPIC_ID",
    "INCONSISTENT_CLUSTER_ID",
    "TRANSACTIONAL_ID_NOT_FOUND",
    "FETCH_SESSION_TOPIC_ID_ERROR",
    "INELIGIBLE_REPLICA",
    "NEW_LEADER_ELECTED",
    "OFFSET_MOVED_TO_TIERED_STORAGE",
    "FENCED_MEMBER_EPOCH",
    "UNRELEASED_INSTANCE_ID",
    "UNSUPPORTED_ASSIGNOR",
    "STALE_MEMBER_EPOCH",
    "MISMATCHED_ENDPOINT_TYPE",
    "UNSUPPORTED_ENDPOINT_TYPE",
    "UNKNOWN_CONTROLLER_ID",
    "UNKNOWN_SUBSCRIPTION_ID",
    "TELEMETRY_TOO_LARGE",
    "INVALID_REGISTRATION",
    "TRANSACTION_ABORTABLE",
    "INVALID_RECORD_STATE",
    "SHARE_SESSION_NOT_FOUND",
    "INVALID_SHARE_SESSION_EPOCH",
    "FENCED_STATE_EPOCH",
    "INVALID_VOTER_KEY",
    "DUPLICATE_VOTER",
    "VOTER_NOT_FOUND",
    "INVALID_REGULAR_EXPRESSION",
    "REBOOTSTRAP_REQUIRED",
    "STREAMS_INVALID_TOPOLOGY",
    "STREAMS_INVALID_TOPOLOGY_EPOCH",
    "STREAMS_TOPOLOGY_FENCED",
    "SHARE_SESSION_LIMIT_REACHED",
];

/// Codes whose Java exception is a RetriableException.
const RETRIABLE: &[i16] = &[
    2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88, 89, 100, 103, 106,
    122, 123, 133,
];

/// Codes that a broker being away or a change under way explains, though Java gives up on them.
const PASSING: &[i16] = &[8, 27, 60, 77, 102];

#[allow(missing_docs)]
impl ErrorCode {
    pub const UNKNOWN_SERVER_ERROR: Self = Self(-1);
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    pub const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    pub const REQUEST_TIMED_OUT: Self = Self(7);
    pub const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    pub const INVALID_TOPIC_EXCEPTION: Self = Self(17);
    pub const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    pub const GROUP_AUTHORIZATION_FAILED: Self = Self(30);
    pub const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    pub const UNSUPPORTED_SASL_MECHANISM: Self = Self(33);
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    pub const INVALID_PARTITIONS: Self = Self(37);
    pub const INVALID_REPLICATION_FACTOR: Self = Self(38);
    pub const INVALID_REPLICA_ASSIGNMENT: Self = Self(39);
    pub const INVALID_CONFIG: Self = Self(40);
    pub const NOT_CONTROLLER: Self = Self(41);
    pub const INVALID_REQUEST: Self = Self(42);
    pub const POLICY_VIOLATION: Self = Self(44);
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Self = Self(53);
    pub const SECURITY_DISABLED: Self = Self(54);
    pub const SASL_AUTHENTICATION_FAILED: Self = Self(58);
    pub const MESSAGE_TOO_LARGE: Self = Self(10);
    pub const UNKNOWN_MEMBER_ID: Self = Self(25);
    pub const GROUP_ID_NOT_FOUND: Self = Self(69);
    pub const GROUP_SUBSCRIBED_TO_TOPIC: Self = Self(86);
    pub const INVALID_PRODUCER_EPOCH: Self = Self(47);
    pub const TOPIC_DELETION_DISABLED: Self = Self(73);
    pub const RESOURCE_NOT_FOUND: Self = Self(91);
    pub const DUPLICATE_RESOURCE: Self = Self(92);
    pub const UNACCEPTABLE_CREDENTIAL: Self = Self(93);
    pub const UNKNOWN_TOPIC_ID: Self = Self(100);
}

impl ErrorCode {
    /// The code with this number on the wire.
    pub const fn from_wire(code: i16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    pub const fn wire(self) -> i16 {
        self.0
    }

    /// The protocol's name; none for a code that is newer than this list.
    pub fn name(self) -> Option<&'static str> {
        if self.0 == -1 {
            return Some("UNKNOWN_SERVER_ERROR");
        }
        usize::try_from(self.0).ok().and_then(|index| NAMES.get(index).copied())
    }

    /// Whether the same request may succeed later, with nothing changed by anyone.
    pub(crate) fn is_retriable(self) -> bool {
        RETRIABLE.contains(&self.0) || PASSING.contains(&self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "ERROR_CODE_{}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_carries_the_name_of_its_number() {
        assert_eq!(ErrorCode::UNKNOWN_SERVER_ERROR.to_string(), "UNKNOWN_SERVER_ERROR");
        assert_eq!(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.to_string(), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(ErrorCode::INVALID_TOPIC_EXCEPTION.to_string(), "INVALID_TOPIC_EXCEPTION");
        assert_eq!(ErrorCode::CLUSTER_AUTHORIZATION_FAILED.to_string(), "CLUSTER_AUTHORIZATION_FAILED");
        assert_eq!(ErrorCode::UNSUPPORTED_SASL_MECHANISM.to_string(), "UNSUPPORTED_SASL_MECHANISM");
        assert_eq!(ErrorCode::INVALID_CONFIG.to_string(), "INVALID_CONFIG");
        assert_eq!(ErrorCode::POLICY_VIOLATION.to_string(), "POLICY_VIOLATION");
        assert_eq!(ErrorCode::SASL_AUTHENTICATION_FAILED.to_string(), "SASL_AUTHENTICATION_FAILED");
        assert_eq!(ErrorCode::GROUP_ID_NOT_FOUND.to_string(), "GROUP_ID_NOT_FOUND");
        assert_eq!(ErrorCode::TOPIC_DELETION_DISABLED.to_string(), "TOPIC_DELETION_DISABLED");
        assert_eq!(ErrorCode::UNKNOWN_TOPIC_ID.to_string(), "UNKNOWN_TOPIC_ID");
        assert_eq!(
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.to_string(),
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
        );
        assert_eq!(ErrorCode::SECURITY_DISABLED.to_string(), "SECURITY_DISABLED");
        assert_eq!(ErrorCode::RESOURCE_NOT_FOUND.to_string(), "RESOURCE_NOT_FOUND");
        assert_eq!(ErrorCode::DUPLICATE_RESOURCE.to_string(), "DUPLICATE_RESOURCE");
        assert_eq!(ErrorCode::UNACCEPTABLE_CREDENTIAL.to_string(), "UNACCEPTABLE_CREDENTIAL");
        assert_eq!(ErrorCode::from_wire(133).to_string(), "SHARE_SESSION_LIMIT_REACHED");
    }

    #[test]
    fn a_code_newer_than_this_list_still_says_its_number() {
        assert_eq!(ErrorCode::from_wire(999).to_string(), "ERROR_CODE_999");
        assert_eq!(ErrorCode::from_wire(-7).to_string(), "ERROR_CODE_-7");
    }

    #[test]
    fn the_names_agree_with_the_client_library_on_what_each_number_means() {
        for code in 0..=133_i16 {
            let theirs = format!("{:?}", krafka::error::ErrorCode::from_i16(code)).to_lowercase();
            let ours = ErrorCode::from_wire(code).to_string().replace('_', "").to_lowercase();
            let renamed = [
                (4, "invalidmessagesize"),
                (6, "notleaderforpartition"),
                (17, "invalidtopic"),
                (56, "kafkastorageexception"),
                (57, "logdirnotfound"),
            ];
            match renamed.iter().find(|(number, _)| *number == code) {
                Some((_, name)) => assert_eq!(theirs, *name),
                None => assert_eq!(theirs, ours, "code {code}"),
            }
        }
    }
}
