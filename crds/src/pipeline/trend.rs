//! Where a backlog is going.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a backlog is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LagTrend {
    /// More arrives than is processed.
    Growing,
    /// More is processed than arrives.
    Draining,
    /// Both are about the same, or nothing waits.
    Steady,
}
