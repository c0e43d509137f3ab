//! Alerting rules: a pure function of a pipeline's spec, and the objects that bring them to Prometheus.
//!
//! What watches must not depend on what is watched: rules are applied whether or not the rest of the spec can be.

pub mod collect;
pub mod kinds;
pub mod metrics;
pub mod objects;
pub mod pipeline;
pub mod processor;
pub mod render;
pub mod rule;

use tidegate_crds::EventPipeline;

pub use self::{
    objects::{Monitoring, objects},
    rule::{Group, Rule},
};
use crate::config::AlertsConfig;

/// How often the rules are evaluated, in seconds. The burn rates count evaluations.
pub const INTERVAL_SECONDS: u64 = 15;

/// The rule groups of a pipeline, each with the processor that it is about; none: the whole pipeline.
pub fn groups(pipeline: &EventPipeline, config: &AlertsConfig) -> Vec<(Option<String>, Group)> {
    let consuming = pipeline.spec.processors.iter().filter_map(|processor| {
        let group = processor::group(pipeline, processor, config)?;
        Some((Some(processor.name.clone()), group))
    });
    std::iter::once((None, pipeline::group(pipeline, config))).chain(consuming).collect()
}

#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod tests;
