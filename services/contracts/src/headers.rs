//! Names of record headers. A header repeats what the envelope says, so that whoever routes or filters need not read the value.

/// The event's type, as in the envelope.
pub const EVENT_TYPE: &str = "eventType";
/// The aggregate's type, as in the envelope.
pub const AGGREGATE_TYPE: &str = "aggregateType";
/// The trace that the event belongs to (W3C Trace Context, version 00).
pub const TRACEPARENT: &str = "traceparent";
