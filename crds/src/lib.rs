//! The API of Tidegate: the kinds KafkaTopic and EventPipeline of `tidegate.dev/v1alpha1`, and nothing else.
//!
//! A field is here when it does what its documentation says. `cargo run -p tidegate-crds` writes the YAML that the API
//! server and the chart take ([`manifest`]); a test fails while what is committed differs from what the types say.

pub mod conditions;
pub mod manifest;
pub mod pipeline;
pub mod reference;
pub mod topic;
pub mod values;

pub use pipeline::{EventPipeline, EventPipelineSpec, EventPipelineStatus};
pub use topic::{KafkaTopic, KafkaTopicSpec, KafkaTopicStatus};

/// The group of both kinds.
pub const GROUP: &str = "tidegate.dev";

/// The connection that is meant where a resource names none.
pub const DEFAULT_CONNECTION: &str = "main";
