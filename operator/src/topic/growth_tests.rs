//! The steps, one by one, and all of them with a crash anywhere.

use super::*;

fn writer(pods: Option<usize>) -> Writer {
    Writer { name: "bank/wallet/commands".into(), pods }
}

fn reader(ordered: bool, waiting: Option<i64>) -> Reader {
    Reader { name: "bank/wallet/ledger".into(), ordered, waiting }
}

fn retry(partitions: Option<i32>) -> RetryTopic {
    RetryTopic { name: "ledger.events.retry".into(), partitions }
}

fn around(pods: Option<usize>, waiting: Option<i64>, partitions: Option<i32>) -> Surroundings {
    Surroundings { writers: vec![writer(pods)], readers: vec![reader(true, waiting)], retries: vec![retry(partitions)] }
}

fn growth(to: i32, step: GrowthStep) -> TopicGrowth {
    TopicGrowth { to, step, producers_stopped: true, since: None }
}

fn told(next: &Next) -> String {
    match next {
        Next::Enter(growth, refusal) => format!("enter {:?}: {}", growth.step, refusal.message),
        Next::Wait(refusal) => format!("wait {}: {}", refusal.reason, refusal.message),
        Next::Grow => "grow".to_owned(),
        Next::Refuse(refusal) => format!("refuse {}: {}", refusal.reason, refusal.message),
    }
}

#[test]
fn each_step_waits_for_what_the_next_one_needs() {
    use GrowthStep::{Draining, Growing, GrowingRetryTopics, StoppingProducers};
    let idle = || around(Some(0), Some(0), Some(6));
    for (recorded, around, begins, says) in [
        (None, around(Some(2), Some(9), Some(3)), "enter StoppingProducers", "grows to 6 partitions"),
        (
            Some(StoppingProducers),
            around(Some(2), Some(9), Some(3)),
            "wait StoppingProducers",
            "2 pods of bank/wallet/commands",
        ),
        (Some(StoppingProducers), around(None, Some(9), Some(3)), "wait StoppingProducers", "not known yet"),
        (Some(StoppingProducers), around(Some(0), Some(9), Some(3)), "enter Draining", "nobody writes"),
        (
            Some(Draining),
            around(Some(0), Some(9), Some(3)),
            "wait Draining",
            "bank/wallet/ledger is through with 9 records",
        ),
        (Some(Draining), around(Some(0), None, Some(3)), "wait Draining", "is being read"),
        (Some(Draining), around(Some(0), Some(0), Some(3)), "enter GrowingRetryTopics", ""),
        (Some(GrowingRetryTopics), around(Some(0), Some(0), Some(3)), "wait GrowingRetryTopics", "ledger.events.retry"),
        (Some(GrowingRetryTopics), around(Some(0), Some(0), None), "wait GrowingRetryTopics", "ledger.events.retry"),
        (Some(GrowingRetryTopics), idle(), "enter Growing", ""),
        (Some(Growing), idle(), "grow", ""),
        // Somebody started a producer in the middle of it.
        (Some(Draining), around(Some(1), Some(0), Some(3)), "enter StoppingProducers", ""),
        (Some(Growing), around(Some(1), Some(0), Some(6)), "enter StoppingProducers", ""),
    ] {
        let recorded = recorded.map(|step| growth(6, step));
        let found = told(&next("events", 6, recorded.as_ref(), &around));
        assert!(found.starts_with(begins) && found.contains(says), "{recorded:?} {around:?}: {found}");
    }
}

#[test]
fn who_reads_in_any_order_is_not_waited_for() {
    let mut around = around(Some(0), Some(0), Some(3));
    around.readers.push(reader(false, None));
    let found = told(&next("events", 6, Some(&growth(6, GrowthStep::Draining)), &around));
    assert!(found.starts_with("enter GrowingRetryTopics"), "{found}");
}

#[test]
fn another_number_begins_anew() {
    let recorded = growth(6, GrowthStep::Growing);
    let found = told(&next("events", 8, Some(&recorded), &around(Some(0), Some(0), Some(6))));
    assert!(found.starts_with("enter StoppingProducers"), "{found}");
}

#[test]
fn without_order_nobody_is_stopped_and_only_the_retry_topics_go_first() {
    let unordered =
        |partitions| Surroundings { readers: vec![reader(false, Some(9))], ..around(Some(2), None, Some(partitions)) };
    let entered = next("events", 6, None, &unordered(3));
    let Next::Enter(recorded, _) = &entered else { panic!("{entered:?}") };
    assert_eq!((recorded.step, recorded.producers_stopped), (GrowthStep::GrowingRetryTopics, false));
    assert!(told(&next("events", 6, Some(recorded), &unordered(3))).starts_with("wait GrowingRetryTopics"));
    assert!(told(&next("events", 6, Some(recorded), &unordered(6))).starts_with("enter Growing"));
    assert_eq!(next("events", 6, None, &Surroundings { retries: vec![], ..unordered(3) }), Next::Grow);
}

#[test]
fn who_reads_in_order_and_writes_is_told_that_it_cannot_be() {
    let mut around = around(Some(1), Some(0), Some(3));
    around.writers[0].name.clone_from(&around.readers[0].name);
    let found = told(&next("events", 6, None, &around));
    assert!(found.starts_with("refuse OrderedLoop") && found.contains("put spec.partitions back"), "{found}");
}

/// What growth does to the world: pods stop and start by what is on record, readers read, retry topics grow by what is on record.
#[derive(Default)]
struct World {
    recorded: Option<TopicGrowth>,
    pods: usize,
    waiting: i64,
    retry: i32,
    topic: i32,
}

impl World {
    /// One look of the topic's controller, which may die right after its first write.
    fn look(&mut self) -> &'static str {
        let to = 6;
        if self.topic >= to {
            self.recorded = None;
            return "done";
        }
        let around = around(Some(self.pods), Some(self.waiting), Some(self.retry));
        match next("events", to, self.recorded.as_ref(), &around) {
            Next::Enter(growth, _) => {
                self.recorded = Some(growth);
                "entered"
            }
            Next::Wait(_) => "waits",
            Next::Grow => {
                assert_eq!((self.pods, self.waiting), (0, 0), "nobody writes, and nothing waits");
                assert!(self.retry >= to, "the retry topics are there");
                self.topic = to;
                "grew"
            }
            Next::Refuse(refusal) => panic!("{refusal:?}"),
        }
    }

    /// What the others do meanwhile.
    fn pass(&mut self) {
        let stopped = self.recorded.as_ref().is_some_and(|growth| growth.producers_stopped);
        self.pods = if stopped { self.pods.saturating_sub(1) } else { 2 };
        self.waiting = (self.waiting - 3 + 5 * i64::try_from(self.pods).unwrap_or(0)).max(0);
        if self.recorded.as_ref().is_some_and(|growth| growth.step >= GrowthStep::GrowingRetryTopics) {
            self.retry = self.retry.max(6);
        }
    }
}

#[test]
fn an_operator_that_dies_between_any_two_steps_goes_on_and_everybody_is_resumed() {
    // Nothing but what is on record outlives a look, so every look is one after a crash; what differs is how much happens meanwhile.
    for pause in 0..8 {
        let mut world = World { pods: 2, waiting: 20, retry: 3, topic: 3, ..World::default() };
        let mut seen = Vec::new();
        for look in 0..200 {
            let did = world.look();
            if seen.last() != Some(&did) {
                seen.push(did);
            }
            if did == "done" {
                break;
            }
            for _ in 0..=(look * pause) % 3 {
                world.pass();
            }
        }
        assert_eq!((world.topic, world.recorded.clone(), seen.last()), (6, None, Some(&"done")), "{seen:?}");
        world.pass();
        assert_eq!(world.pods, 2, "resumed");
    }
}
