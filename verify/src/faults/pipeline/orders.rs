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

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// How often each order was priced.
    pub priced: BTreeMap<String, usize>,
    /// How often each that is none was dead-lettered.
    pub dead: BTreeMap<String, usize>,
}

/// Reads what is committed, of dead letters those of a group. Blocks.
pub fn came(kafka: &Kafka, priced: &str, dead_letters: &str, group: &str) -> Result<Came, FaultError> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let all = BTreeMap::new();
    let mut came = Came::default();
    for value in read_topic(kafka, priced, &all, READ_WITHIN, |message| text(message.payload()))? {
        let id =
            serde_json::from_str::<Value>(&value).ok().and_then(|order| Some(order["orderId"].as_str()?.to_owned()));
        *came.priced.entry(id.unwrap_or(value)).or_default() += 1;
    }
    let of_group = |message: &BorrowedMessage<'_>| {
        told(message).is_ok_and(|told| told.group == group).then(|| text(message.payload()))
    };
    for value in read_topic(kafka, dead_letters, &all, READ_WITHIN, of_group)?.into_iter().flatten() {
        let id = value.strip_prefix("no order ").map_or(value.clone(), str::to_owned);
        *came.dead.entry(id).or_default() += 1;
    }
    Ok(came)
}

/// A sentence for each record that did not come out, or came out as something that was never sent; and, when nothing was ever asked to be
/// read `again`, for each that came out twice.
pub fn violations(sent: &Sent, came: &Came, again: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sent, came) in [("order", &sent.orders, &came.priced), ("poison", &sent.poison, &came.dead)] {
        found.extend(sent.iter().filter(|id| !came.contains_key(*id)).map(|id| format!("{what} {id} was lost")));
        found.extend(came.keys().filter(|id| !sent.contains(*id)).map(|id| format!("{what} {id} was never sent")));
        if !again {
            let twice = came.iter().filter(|(_, times)| **times > 1);
            found.extend(twice.map(|(id, times)| format!("{what} {id} was handled {times} times")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    fn counts(ids: &[(&str, usize)]) -> BTreeMap<String, usize> {
        ids.iter().map(|(id, times)| ((*id).to_owned(), *times)).collect()
    }

    #[test]
    fn what_is_lost_made_up_or_doubled_is_said() {
        let sent = Sent { orders: set(&["1", "2"]), poison: set(&["3"]), refused: vec![] };
        let good = Came { priced: counts(&[("1", 1), ("2", 1)]), dead: counts(&[("3", 1)]) };
        assert_eq!(violations(&sent, &good, false), Vec::<String>::new());
        let twice = Came { priced: counts(&[("1", 2), ("2", 1)]), ..good.clone() };
        assert_eq!(violations(&sent, &twice, false), ["order 1 was handled 2 times"]);
        assert_eq!(violations(&sent, &twice, true), Vec::<String>::new(), "who was told to read again may");
        let lost = Came { priced: counts(&[("1", 1)]), dead: counts(&[("9", 1)]) };
        assert_eq!(
            violations(&sent, &lost, true),
            ["order 2 was lost", "poison 3 was lost", "poison 9 was never sent"]
        );
    }
}
