//! Several faults at once, by a seed: a short run of what hack/faults does for longer.

use std::{sync::Arc, time::Duration};

use tidegate_verify::faults::{Kind, Options, run};

use crate::world::story;

/// Those that take seconds. Brokers, deletions and long stops have stories of their own, or hack/faults.
const QUICK: [Kind; 9] = [
    Kind::MemberKill,
    Kind::MemberPause,
    Kind::PostgresKill,
    Kind::Disconnect,
    Kind::Poison,
    Kind::PoisonedWallet,
    Kind::Large,
    Kind::TableLock,
    Kind::RetryStorm,
];

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_every_quick_kind_leave_every_invariant_as_it_was() {
    story("faults", async |world| {
        let options = Options {
            time: Duration::from_secs(90),
            seed: 4,
            kinds: QUICK.to_vec(),
            once: true,
            rate: 40,
            stop: Arc::default(),
        };
        let report = run(&world.environment, &options, |line| eprintln!("{line}")).await;
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        eprint!("{}", report.faults());
        assert!(report.held(), "{}{}{}", report.load, report.faults(), report.verdict);
        assert_eq!(report.left_out, [], "the wallet's pipeline takes all of them");
    })
    .await;
}
