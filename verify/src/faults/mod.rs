//! Faults that are injected into the local cluster under load: what there is ([`Kind`]), which come when ([`Schedule`]), how they are
//! done and undone, and a run of all that which ends with the checkers' verdict.

mod cluster;
mod error;
mod inject;
mod kind;
mod records;
mod run;
mod schedule;
mod tables;

pub use error::FaultError;
pub use kind::{Class, Kind};
pub use records::PutAside;
pub use run::{Options, Report, run};
pub use schedule::{Fault, PROCESSORS, PROJECTORS, Round, Schedule, TABLES, Target};
