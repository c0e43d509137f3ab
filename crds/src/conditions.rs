//! The names of condition types and reasons. They follow kstatus: Ready, and Reconciling and Stalled, which are there
//! only while they are true.

/// The resource is as its spec says, and works.
pub const READY: &str = "Ready";
/// The operator is on its way to what the spec says. Present only while True.
pub const RECONCILING: &str = "Reconciling";
/// The operator has stopped until something changes, and says what. Present only while True.
pub const STALLED: &str = "Stalled";
/// Somebody else changed what the spec describes, and the operator has not put it back. Present only while True.
pub const DRIFTED: &str = "Drifted";
/// The topic existed before the resource.
pub const ADOPTED: &str = "Adopted";
/// Every processor has the members it should have.
pub const HEALTHY: &str = "Healthy";

/// The one annotation by which a resource goes while Kafka cannot be reached: value `"true"`.
pub const ABANDON_ANNOTATION: &str = "tidegate.dev/abandon";
/// Consent to growing a topic that ordered consumers read: its value is the partition count consented to.
pub const ALLOW_REORDER_ANNOTATION: &str = "tidegate.dev/allow-reorder";
