//! What the wallet's faults hit, and for how long.

use std::{fmt, time::Duration};

use super::{Kind, schedule::Deal};
use crate::random::Random;

/// The wallet's processors.
pub const PROCESSORS: [&str; 3] = ["commands", "ledger-projector", "read-model-projector"];
/// Those that are members of a group.
pub const PROJECTORS: [&str; 2] = ["ledger-projector", "read-model-projector"];
/// Tables that projectors write.
pub const TABLES: [&str; 2] = ["ledger_entries", "wallet_read_model"];
/// Brokers of the local cluster.
pub(super) const BROKERS: usize = 3;

/// What a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One of a processor's pods: the number chooses among those that run.
    Processor(&'static str, usize),
    /// A broker by its number.
    Broker(usize),
    /// A projection's table.
    Table(&'static str),
    /// A wallet of the run: the number chooses.
    Wallet(usize),
    /// The only one of its kind.
    Only,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processor(processor, _) => write!(f, " {processor}"),
            Self::Broker(broker) => write!(f, " kafka-{broker}"),
            Self::Table(table) => write!(f, " {table}"),
            Self::Wallet(_) | Self::Only => Ok(()),
        }
    }
}

impl Deal for Kind {
    type Target = Target;

    fn aim(self, random: &mut Random) -> (Target, Duration) {
        let target = match self {
            Self::MemberKill | Self::MemberPause | Self::MemberDelete | Self::MemberVanish => {
                Target::Processor(PROCESSORS[random.index(PROCESSORS.len())], random.index(6))
            }
            Self::MemberStop | Self::Scale => {
                Target::Processor(PROJECTORS[random.index(PROJECTORS.len())], random.index(6))
            }
            Self::BrokerKill | Self::BrokerPause | Self::BrokerDelete => Target::Broker(random.index(BROKERS)),
            Self::TableLock | Self::RetryStorm => Target::Table(TABLES[random.index(TABLES.len())]),
            Self::PoisonedWallet => Target::Wallet(random.index(1 << 16)),
            _ => Target::Only,
        };
        // Milliseconds.
        let (least, most) = match self {
            // The lease of a relay's shard is 10 s.
            Self::MemberPause => (1_000, 20_000),
            // A group expels after 45 s; the kubelet kills after six probes in vain, which takes a minute.
            Self::MemberStop => (49_000, 53_000),
            Self::Scale => (5_000, 15_000),
            // Controllers fence a broker after 9 s.
            Self::BrokerPause => (3_000, 25_000),
            Self::Disconnect => (2_000, 8_000),
            Self::TableLock => (2_000, 10_000),
            // A record is tried for half a minute in all.
            Self::RetryStorm => (1_000, 10_000),
            Self::PoisonedWallet => (1_000, 5_000),
            _ => (0, 0),
        };
        (target, Duration::from_millis(random.between(least, most)))
    }

    fn company(random: &mut Random) -> u64 {
        1 - random.below(2)
    }
}
