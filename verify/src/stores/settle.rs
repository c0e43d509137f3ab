//! Waits until nothing is under way, then reads everything.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::Message;

use super::{ReadError, Streams, asides::read_asides, kafka, postgres, postgres::Progress, wallet};
use crate::{
    environment::{Environment, Kafka},
    facts::{Facts, Foreign, Published},
};

const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long it may take, at least, until Kafka has been told of what the databases have.
const TOLD: Duration = Duration::from_secs(60);

/// The stores after the dust has settled, or at the deadline.
#[derive(Debug)]
pub struct Reading {
    /// Everything in them.
    pub facts: Facts,
    /// How far the projections were when it was read.
    pub progress: Progress,
    /// How long the projections took to catch up; none when they did not within the limit.
    pub caught_up_after: Option<Duration>,
    /// Records of the topic that each of the groups has not committed; 0 once it has told Kafka of all.
    pub lag: Vec<(String, usize)>,
}

/// Waits for the projections, for at most `within`, and reads all stores. Somebody who writes to the wallet meanwhile is waited
/// for, too: the facts speak of one moment.
pub async fn settle(environment: &Environment, within: Duration) -> Result<Reading, ReadError> {
    let started = Instant::now();
    let ends = started + within;
    let mut connection = postgres::connect(&environment.wallet_database_url).await?;
    let mut caught_up_after = None;
    loop {
        let progress = postgres::progress(&mut connection).await?;
        if progress.is_settled() {
            caught_up_after.get_or_insert_with(|| started.elapsed());
        } else if Instant::now() < ends {
            tokio::time::sleep(ASK_EVERY).await;
            continue;
        }
        let mut facts = postgres::facts(&mut connection, &environment.streams).await?;
        let (kafka, streams) = (environment.kafka.clone(), environment.streams.clone());
        let (facts, lag) = blocking(move || {
            // What is put aside moves on while it is read, from the retry topic to the dead letters: read in that order, nothing is missed.
            asides(&kafka, &streams, within, &mut facts)?;
            topic(&kafka, &streams.topic, within, &mut facts)?;
            let lag = lag(&kafka, &streams, &facts, ends)?;
            Ok((facts, lag))
        })
        .await?;
        let after = postgres::progress(&mut connection).await?;
        if after == progress || Instant::now() >= ends {
            return Ok(Reading { facts, progress: after, caught_up_after, lag });
        }
    }
}

/// How long reading may take. Nothing is waited for: it is as long as the history, however short the patience with what is not settled.
fn reading(within: Duration) -> Duration {
    within.max(Duration::from_secs(240))
}

fn topic(kafka: &Kafka, topic: &str, within: Duration, facts: &mut Facts) -> Result<(), ReadError> {
    let records = kafka::read_topic(kafka, topic, &BTreeMap::new(), reading(within), |message| {
        let place = kafka::place(message);
        let key = message.key().map(<[u8]>::to_vec);
        let event = wallet::from_record(message.payload().unwrap_or_default());
        match (event, key.clone().map(String::from_utf8)) {
            (Ok(event), Some(Ok(key))) => Ok(Published { place, key, event }),
            (Ok(_), _) => Err(Foreign { place, key, why: "an event whose key is no wallet's id".into() }),
            (Err(why), _) => Err(Foreign { place, key, why }),
        }
    })?;
    for record in records {
        match record {
            Ok(event) => facts.published.push(event),
            Err(foreign) => facts.foreign.push(foreign),
        }
    }
    Ok(())
}

fn asides(kafka: &Kafka, streams: &Streams, within: Duration, facts: &mut Facts) -> Result<(), ReadError> {
    let all = BTreeMap::new();
    for group in &mut facts.groups {
        let (topic, offsets) = streams.retry(&group.name);
        group.unfinished = kafka::committed_offsets(kafka, &offsets, &topic)?;
        group.trimmed =
            kafka::watermarks(kafka, &topic)?.into_iter().map(|(partition, (low, _))| (partition, low)).collect();
        for told in read_asides(kafka, &topic, &all, reading(within))? {
            match told {
                Ok(told) => group.parked.push(told.aside),
                Err(what) => facts.unattributed.push(what),
            }
        }
    }
    for told in read_asides(kafka, &streams.dead_letters, &all, reading(within))? {
        match told {
            // The topic may be shared: what other groups put there is theirs.
            Ok(told) if told.topic == streams.topic => {
                if let Some(group) = facts.groups.iter_mut().find(|group| group.name == told.group) {
                    group.dead.push(told.aside);
                }
            }
            Ok(_) => {}
            Err(what) => facts.unattributed.push(what),
        }
    }
    Ok(())
}

/// A projector tells Kafka of its offset after its database has it, so the lag follows a moment later.
fn lag(kafka: &Kafka, streams: &Streams, facts: &Facts, ends: Instant) -> Result<Vec<(String, usize)>, ReadError> {
    // However long the history took to read.
    let ends = ends.max(Instant::now() + TOLD);
    loop {
        let mut lag = Vec::new();
        for (group, _) in streams.groups() {
            let offsets = kafka::committed_offsets(kafka, group, &streams.topic)?;
            let places = facts.published.iter().map(|record| record.place);
            let foreign = facts.foreign.iter().map(|record| record.place);
            lag.push((group.to_owned(), kafka::unread(places.chain(foreign), &offsets)));
        }
        if lag.iter().all(|(_, unread)| *unread == 0) || Instant::now() >= ends {
            return Ok(lag);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// librdkafka's calls block; the runtime's threads must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(ReadError::Interrupted(panic.to_string())))
}
