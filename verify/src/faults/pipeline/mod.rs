//! Faults under pipelines that are edited all the time: the operator is killed, frozen and cut off, brokers go, somebody deletes and edits
//! what the operator made. In the end everything is as the specs ask, and nothing else is there.

mod behind;
mod edit;
mod inject;
mod kind;
mod look;
mod orders;
mod orphans;
mod run;
mod stage;
mod wanted;

pub use kind::{Class, Kind, Target};
pub use run::{Options, Report, run};
