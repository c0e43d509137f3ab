//! Faults that are injected into the local cluster under load: what there is ([`Kind`]), which come when ([`Schedule`]), how they are
//! done and undone, and a run of all that which ends with the checkers' verdict.

#[macro_use]
mod kinds;

mod aim;
mod cluster;
mod error;
mod inject;
mod kind;
pub mod pipeline;
mod records;
mod rounds;
mod run;
mod schedule;
mod tables;

pub use aim::{PROCESSORS, PROJECTORS, TABLES, Target};
pub use error::FaultError;
pub use kind::{Class, Kind};
pub use records::PutAside;
pub use run::{Options, Report, run};
pub use schedule::{Deal, Fault, Round, Schedule, Sorted};
