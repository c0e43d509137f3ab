//! Names of record headers. A header repeats what the envelope says, so that whoever routes or filters need not read the value.

/// The event's type, as in the envelope.
pub const EVENT_TYPE: &str = "eventType";
/// The aggregate's type, as in the envelope.
pub const AGGREGATE_TYPE: &str = "aggregateType";
/// The trace that the event belongs to (W3C Trace Context, version 00).
pub const TRACEPARENT: &str = "traceparent";

/// Of a parked record and of a dead letter: the group whose member could not handle it.
pub const GROUP: &str = "tidegate-group";
/// Of a parked record and of a dead letter: Kafka name of the topic that it came from.
pub const ORIGIN_TOPIC: &str = "tidegate-origin-topic";
/// Of a parked record and of a dead letter: its partition there, a decimal number.
pub const ORIGIN_PARTITION: &str = "tidegate-origin-partition";
/// Of a parked record and of a dead letter: its offset there, a decimal number.
pub const ORIGIN_OFFSET: &str = "tidegate-origin-offset";
/// Of a parked record and of a dead letter: its time there, ms since 1970.
pub const ORIGIN_TIMESTAMP: &str = "tidegate-origin-timestamp";
/// Of a dead letter: why. `Poison`: it cannot be handled, now or ever. `Exhausted`: every attempt failed. `Panic`: the last attempt
/// ended in a panic. `TooLarge`: it does not fit into the retry topic.
pub const ERROR_CLASS: &str = "tidegate-error-class";
/// Of a dead letter: what the handler said, at most 1000 characters.
pub const ERROR: &str = "tidegate-error";
/// Of a dead letter: tries that were made, a decimal number.
pub const ATTEMPTS: &str = "tidegate-attempts";
/// Of a record of a retry topic that is no parked record but a word to its reader: `quarantine` keeps the key's records parked behind
/// a dead letter; `redrive` is that dead letter again, to be handled before them; `skip` gives it up and lets them go on. Each names
/// the dead letter's origin.
pub const CONTROL: &str = "tidegate-control";
