//! krafka's errors in our words. Its messages name addresses, topics and groups, never credentials.

use krafka::{KrafkaError, ProtocolErrorKind};

use crate::{Action, AdminError, ErrorCode};

/// Says what `error` means for what was being done.
pub(super) fn error(action: Action, error: KrafkaError) -> AdminError {
    match error {
        KrafkaError::Broker { code, message } => {
            // krafka puts its own Debug name of the code where the broker sent no message.
            let silent = message == format!("{code:?}") || message.is_empty();
            let code = ErrorCode::from_wire(code.to_i16());
            let message = if silent { explanation(code).to_owned() } else { message };
            match code {
                ErrorCode::SASL_AUTHENTICATION_FAILED | ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                    AdminError::Authentication { action, code, message }
                }
                _ => AdminError::Refused { action, code, message },
            }
        }
        KrafkaError::UnknownTopic { .. } => {
            let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            AdminError::Refused { action, code, message: explanation(code).to_owned() }
        }
        KrafkaError::Auth { message, .. } => authentication(action, message),
        KrafkaError::Network(source) => AdminError::Unreachable { action, message: source.to_string() },
        KrafkaError::Closed { message } => AdminError::Unreachable { action, message },
        KrafkaError::Timeout { operation } => AdminError::Deadline { action, message: operation },
        KrafkaError::Config { message } => AdminError::Settings { action, message },
        other => AdminError::Unexpected { action, message: other.to_string() },
    }
}

/// krafka has one error for SASL and for TLS and keeps the code in the text only.
fn authentication(action: Action, message: String) -> AdminError {
    if message.contains("TLS handshake failed") {
        AdminError::Tls { action, message }
    } else if message.contains("SASL handshake failed") {
        AdminError::Authentication { action, code: ErrorCode::UNSUPPORTED_SASL_MECHANISM, message }
    } else {
        AdminError::Authentication { action, code: ErrorCode::SASL_AUTHENTICATION_FAILED, message }
    }
}

/// A sentence for codes that brokers send without one.
fn explanation(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "the broker does not know this topic or partition",
        ErrorCode::UNKNOWN_TOPIC_ID => "no topic has this id",
        ErrorCode::GROUP_ID_NOT_FOUND => "there is no such group",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "the operator's Kafka user may not do this to the topic",
        ErrorCode::GROUP_AUTHORIZATION_FAILED => "the operator's Kafka user may not do this to the group",
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => "the operator's Kafka user may not do this to the cluster",
        _ => "the broker gives no further reason",
    }
}

/// An item that a response does not mention.
pub(super) fn missing() -> KrafkaError {
    KrafkaError::protocol_kind(ProtocolErrorKind::Malformed, "the response does not mention it")
}

#[cfg(test)]
mod tests {
    use krafka::error::ErrorCode as Code;

    use super::*;
    use crate::{Api, ErrorClass};

    fn converted(source: KrafkaError) -> AdminError {
        error(Action::new(Api::DescribeTopics, "orders"), source)
    }

    #[test]
    fn a_refusal_keeps_the_protocol_name_and_the_brokers_message() {
        let refused = converted(KrafkaError::broker(Code::InvalidConfig, "Unknown topic config name: x"));
        assert_eq!(refused.to_string(), "describing topic orders: INVALID_CONFIG: Unknown topic config name: x");
        let silent = converted(KrafkaError::broker(Code::UnknownTopicOrPartition, "UnknownTopicOrPartition"));
        assert_eq!(
            silent.to_string(),
            "describing topic orders: UNKNOWN_TOPIC_OR_PARTITION: the broker does not know this topic or partition"
        );
    }

    #[test]
    fn a_wrong_password_an_untrusted_certificate_and_a_dead_network_are_three_different_things() {
        let password = converted(KrafkaError::auth(
            "could not connect to any of [b:1]: SASL authentication step failed: SaslAuthenticationFailed - invalid credentials",
        ));
        assert_eq!(password.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
        let certificate = converted(KrafkaError::auth("TLS handshake failed: invalid peer certificate: UnknownIssuer"));
        assert!(matches!(certificate, AdminError::Tls { .. }), "{certificate:?}");
        let network = converted(KrafkaError::network(std::io::ErrorKind::ConnectionRefused.into()));
        assert!(matches!(network, AdminError::Unreachable { .. }), "{network:?}");
        for error in [password, certificate, network] {
            assert_eq!(error.class(), ErrorClass::Connection);
        }
    }
}
