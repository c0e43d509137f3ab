//! A load of orders, some of which nobody can read, and whether each came out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rdkafka::{
    Message,
    message::BorrowedMessage,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    environment::Kafka,
    faults::{FaultError, rounds::is_set},
    stores::{asides::told, kafka::read_topic},
};

const EVERY: Duration = Duration::from_millis(100);
/// Of so many orders one is none.
const POISONED: usize = 25;
/// How long Kafka is given to take a record: longer than any fault.
const TAKEN_WITHIN: Duration = Duration::from_secs(600);
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What Kafka took.
#[derive(Debug, Default)]
pub struct Sent {
    /// Orders, by their ids.
    pub orders: BTreeSet<String>,
    /// What is no order.
    pub poison: BTreeSet<String>,
    /// Why records were not taken, a sentence each.
    pub refused: Vec<String>,
}

/// Ten orders a second until it is told to stop; every now and then something that is no event goes into `events`.
pub async fn load(kafka: &Kafka, orders: &str, events: &str, stop: Arc<AtomicBool>) -> Result<Sent, FaultError> {
    let mut config = kafka.client_config();
    config.set("enable.idempotence", "true").set("partitioner", "murmur2_random");
    config.set("message.timeout.ms", TAKEN_WITHIN.as_millis().to_string());
    let producer: FutureProducer = config.create().map_err(FaultError::kafka("building a producer"))?;
    let mut under_way = JoinSet::new();
    let mut every = tokio::time::interval(EVERY);
    for number in 1_usize.. {
        if is_set(&stop) {
            break;
        }
        every.tick().await;
        let is_poison = number.is_multiple_of(POISONED);
        let value = match is_poison {
            true => format!("no order {number}"),
            false => json!({"orderId": number.to_string(), "unitPrice": "2.50", "quantity": 2}).to_string(),
        };
        let mut records = vec![(orders.to_owned(), format!("customer-{}", number % 7), value)];
        if is_poison {
            // Of a wallet that nobody has.
            records.push((events.to_owned(), format!("nobody-{number}"), "no event".into()));
        }
        for (topic, key, value) in records {
            let producer = producer.clone();
            let is_order = topic == orders;
            under_way.spawn(async move {
                let sent = producer.send(FutureRecord::to(&topic).key(&key).payload(&value), TAKEN_WITHIN).await;
                (is_order, number.to_string(), is_poison, sent.err().map(|(error, _)| format!("{topic}: {error}")))
            });
        }
    }
    let mut sent = Sent::default();
    while let Some(done) = under_way.join_next().await {
        let (is_order, id, is_poison, error) = done.map_err(|panic| FaultError::Interrupted(panic.to_string()))?;
        match (error, is_order, is_poison) {
            (Some(error), ..) => sent.refused.push(error),
            (None, true, false) => drop(sent.orders.insert(id)),
            (None, true, true) => drop(sent.poison.insert(id)),
            (None, false, _) => {}
        }
    }
    Ok(sent)
}

/// How often each order is there, and how often each that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orders, by their ids.
    pub orders: BTreeMap<String, usize>,
    /// What is no order.
    pub poison: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, value: &str) {
        let order =
            serde_json::from_str::<Value>(value).ok().and_then(|order| Some(order["orderId"].as_str()?.to_owned()));
        let (counts, id) = match order {
            Some(id) => (&mut self.orders, id),
            None => (&mut self.poison, value.trim_start_matches("no order ").to_owned()),
        };
        *counts.entry(id).or_default() += 1;
    }
}

/// What the source holds, and what came out: priced orders, and dead letters of a group. Reads what is committed. Blocks.
pub fn counts(kafka: &Kafka, [source, priced, dead_letters, group]: &[String; 4]) -> Result<[Counts; 2], FaultError> {
    let text =
        |message: &BorrowedMessage<'_>| String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
    let of_group = |message: &BorrowedMessage<'_>| told(message).is_ok_and(|told| told.group == *group);
    let all = BTreeMap::new();
    let (mut logged, mut came) = (Counts::default(), Counts::default());
    read_topic(kafka, source, &all, READ_WITHIN, text)?.iter().for_each(|value| logged.add(value));
    read_topic(kafka, priced, &all, READ_WITHIN, text)?.iter().for_each(|value| came.add(value));
    let dead = read_topic(kafka, dead_letters, &all, READ_WITHIN, |message| of_group(message).then(|| text(message)))?;
    dead.iter().flatten().for_each(|value| came.add(value));
    Ok([logged, came])
}

/// A sentence for each record that was taken and is not in the source, and for each of the source that did not come out, or came out more
/// often than it is there, unless something was asked to be read `again`. What nobody sent came from nowhere.
pub fn violations(sent: &Sent, logged: &Counts, came: &Counts, again: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sent, logged, came) in
        [("order", &sent.orders, &logged.orders, &came.orders), ("poison", &sent.poison, &logged.poison, &came.poison)]
    {
        let lost = sent.iter().filter(|id| !logged.contains_key(*id));
        found.extend(lost.map(|id| format!("{what} {id} was taken by Kafka, and is not there")));
        for (id, times) in logged {
            // A producer whose broker died may write a record twice: whoever reads it handles both.
            match came.get(id).copied().unwrap_or(0) {
                handled if handled < *times => found.push(format!("{what} {id} came out {handled} times of {times}")),
                handled if handled > *times && !again => {
                    found.push(format!("{what} {id} came out {handled} times, and is there {times} times"));
                }
                _ => {}
            }
        }
        let strange = came.keys().filter(|id| !logged.contains_key(*id));
        found.extend(strange.map(|id| format!("{what} {id} came out of nowhere")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[&str]) -> Counts {
        let mut counts = Counts::default();
        for value in values {
            match value.strip_prefix('!') {
                Some(id) => counts.add(&format!("no order {id}")),
                None => counts.add(&json!({"orderId": value}).to_string()),
            }
        }
        counts
    }

    #[test]
    fn what_is_lost_made_up_or_doubled_is_said() {
        let set = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let sent = Sent { orders: set(&["1", "2"]), poison: set(&["3"]), refused: vec![] };
        let logged = counts(&["1", "2", "!3"]);
        for (came, again, said) in [
            (counts(&["1", "2", "!3"]), false, &[][..]),
            (counts(&["1", "1", "2", "!3"]), false, &["order 1 came out 2 times, and is there 1 times"]),
            (counts(&["1", "1", "2", "!3"]), true, &[]),
            (
                counts(&["1", "!9"]),
                true,
                &["order 2 came out 0 times of 1", "poison 3 came out 0 times of 1", "poison 9 came out of nowhere"],
            ),
        ] {
            assert_eq!(violations(&sent, &logged, &came, again), said);
        }
        // The source itself: doubled by its producer, which must come out twice; and not there at all.
        let doubled = counts(&["1", "1", "2", "!3"]);
        assert_eq!(violations(&sent, &doubled, &doubled, false), Vec::<String>::new());
        assert_eq!(violations(&sent, &doubled, &logged, false), ["order 1 came out 1 times of 2"]);
        let short = counts(&["1", "!3"]);
        assert_eq!(violations(&sent, &short, &short, false), ["order 2 was taken by Kafka, and is not there"]);
    }
}
