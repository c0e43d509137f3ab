//! The next spec: what somebody writes while the load goes on. Pure functions of what is asked for now.

use serde_json::{Value, json};

use super::{
    Kind,
    wanted::{BANK, PRICES, PRICING, Resource, Wanted},
};
use crate::random::Random;

/// The most partitions that a topic grows to.
const MOST_PARTITIONS: i64 = 8;
/// The annotation that asks for other credentials.
const ROTATE: &str = "tidegate.dev/rotate-credentials";

/// What was changed, in the name of which resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What is asked for then.
    pub wanted: Wanted,
    /// The resource that changed.
    pub name: String,
    /// What about it, for a person.
    pub what: String,
}

/// The next of what is asked for. `serial`: another one each time. None: the kind is no edit, or there is nothing that it could change.
pub fn edit(kind: Kind, wanted: &Wanted, random: &mut Random, serial: u32) -> Option<Edit> {
    let mut next = wanted.clone();
    if matches!(kind, Kind::TopicEdit) {
        let (name, what) = topic(&mut next, random)?;
        return Some(Edit { wanted: next, name, what });
    }
    let name = if random.below(3) == 0 { PRICES } else { BANK };
    let pipeline = next.pipelines.get_mut(name)?;
    let (name, what) = match kind {
        Kind::Processors => return processors(next, random),
        Kind::Users => {
            // The bank's users are managed all the time.
            let pipeline = next.pipelines.get_mut(PRICES)?;
            let managed = pipeline.is_managed();
            pipeline.spec["kafka"]["user"] =
                if managed { json!({"secretRef": {"name": "kafka"}}) } else { json!({"managed": {}}) };
            (PRICES, format!("user {}", pipeline.spec["kafka"]["user"]))
        }
        Kind::Rotate => {
            pipeline.annotations.insert(ROTATE.into(), format!("rotation-{serial}"));
            (name, format!("rotation-{serial}"))
        }
        Kind::Replicas => (name, replicas(pipeline, random)?),
        Kind::Scaling => (name, scaling(pipeline, random)?),
        Kind::Retry => {
            let max = ["1s", "5s", "10s"][random.index(3)];
            let retry = json!({"attempts": random.between(5, 15), "backoff": {"initial": "100ms", "max": max}});
            (BANK, set(next.pipelines.get_mut(BANK)?, random, "retry", "retry", &retry)?)
        }
        Kind::DeadLetters => {
            let retention = format!("{}d", random.between(1, 30));
            // Those who share a topic say the same of it.
            for processor in pipeline.processors_mut()? {
                if processor["deadLetter"].is_object() {
                    processor["deadLetter"]["retention"] = json!(retention);
                }
            }
            (name, format!("dead letters are kept for {retention}"))
        }
        Kind::Alerts => {
            let lag = [
                json!({"objective": format!("{}s", random.between(10, 120)), "alert": {"severity": "page"}}),
                json!({"objective": "5m", "target": "99%", "window": "7d"}),
            ];
            let lag = &lag[random.index(2)];
            (name, set(pipeline, random, "consumes", "lag", lag)?)
        }
        Kind::Roll => (
            name,
            set(pipeline, random, "name", "env", &json!([{"name": "TIDEGATE_FAULTS", "value": serial.to_string()}]))?,
        ),
        Kind::Replay => {
            let asked = json!({"id": format!("replay-{serial}"), "from": {"position": "Earliest"}});
            (name, set(pipeline, random, "consumes", "replay", &asked)?)
        }
        Kind::Redrive => {
            let asked = json!({"id": format!("redrive-{serial}")});
            (BANK, set(next.pipelines.get_mut(BANK)?, random, "retry", "redrive", &asked)?)
        }
        _ => return None,
    };
    Some(Edit { wanted: next, name: name.into(), what })
}

/// Sets a field of one of the processors that have another field.
fn set(pipeline: &mut Resource, random: &mut Random, with: &str, field: &str, value: &Value) -> Option<String> {
    let processor = choose(pipeline, random, |processor| !processor[with].is_null())?;
    processor[field] = value.clone();
    Some(format!("{} {field} {value}", processor["name"]))
}

fn choose<'a>(pipeline: &'a mut Resource, random: &mut Random, fits: impl Fn(&Value) -> bool) -> Option<&'a mut Value> {
    let mut fitting: Vec<&mut Value> = pipeline.processors_mut()?.iter_mut().filter(|one| fits(one)).collect();
    let chosen = (!fitting.is_empty()).then(|| random.index(fitting.len()))?;
    Some(fitting.swap_remove(chosen))
}

fn replicas(pipeline: &mut Resource, random: &mut Random) -> Option<String> {
    let processor = choose(pipeline, random, |processor| processor["scaling"].is_null())?;
    let other = if processor["replicas"] == 1 { 2 } else { 1 };
    processor["replicas"] = json!(other);
    Some(format!("{} has {other} replicas", processor["name"]))
}

fn scaling(pipeline: &mut Resource, random: &mut Random) -> Option<String> {
    let max = random.between(1, 3);
    let out = random.below(3) == 0;
    let processor = choose(pipeline, random, |processor| !processor["consumes"].is_null())?;
    let fields = processor.as_object_mut()?;
    if fields.contains_key("scaling") && out {
        fields.remove("scaling");
        fields.insert("replicas".into(), json!(1));
    } else {
        fields.remove("replicas");
        fields.insert("scaling".into(), json!({"min": 1, "max": max, "targetLag": "30s"}));
    }
    Some(format!("{} scaling {}", processor["name"], processor["scaling"]))
}

/// One of a kind that a person does: more of it, less of it, another name for it.
fn processors(mut next: Wanted, random: &mut Random) -> Option<Edit> {
    let place = |pipeline: &Resource, name: &str| pipeline.processors().iter().position(|found| found["name"] == name);
    let (name, what) = match random.below(3) {
        0 => {
            let image = next.pipelines[PRICES].processors().first()?["run"]["container"]["image"].as_str()?.to_owned();
            let another = next.pricing("price-again", "priced-again", &image);
            let prices = next.pipelines.get_mut(PRICES)?;
            match place(prices, "price-again") {
                Some(at) => {
                    prices.processors_mut()?.remove(at);
                    (PRICES, "price-again is taken out")
                }
                None => {
                    // What they share they say alike.
                    let shared =
                        prices.processors().iter().find(|found| found["name"] == PRICING)?["deadLetter"].clone();
                    prices.processors_mut()?.push(another);
                    prices.processors_mut()?.last_mut()?["deadLetter"] = shared;
                    (PRICES, "price-again is added")
                }
            }
        }
        1 => {
            let bank = next.pipelines.get_mut(BANK)?;
            let (from, to) =
                if place(bank, "ledger").is_some() { ("ledger", "bookkeeping") } else { ("bookkeeping", "ledger") };
            let at = place(bank, from)?;
            bank.processors_mut()?[at]["name"] = json!(to);
            (BANK, if to == "ledger" { "bookkeeping is called ledger" } else { "ledger is called bookkeeping" })
        }
        _ => {
            let read_model = next.projector_of_read_model();
            let bank = next.pipelines.get_mut(BANK)?;
            match place(bank, "read-model") {
                Some(at) => {
                    bank.processors_mut()?.remove(at);
                    (BANK, "read-model is taken out")
                }
                None => {
                    let shared =
                        bank.processors().iter().find(|found| found["deadLetter"].is_object())?["deadLetter"].clone();
                    bank.processors_mut()?.push(read_model);
                    bank.processors_mut()?.last_mut()?["deadLetter"] = shared;
                    (BANK, "read-model is put back")
                }
            }
        }
    };
    Some(Edit { wanted: next, name: name.into(), what: what.into() })
}

/// Other configuration; or more partitions, where nobody reads in order.
fn topic(next: &mut Wanted, random: &mut Random) -> Option<(String, String)> {
    let name = ["orders", "spare", "scratch", "events"][random.index(4)];
    let topic = next.topics.get_mut(name)?;
    let partitions = topic.spec["partitions"].as_i64()?;
    let what = match random.below(3) {
        0 if name != "events" && partitions < MOST_PARTITIONS => {
            topic.spec["partitions"] = json!(partitions + 1);
            format!("{} partitions", partitions + 1)
        }
        1 => {
            // What retry topics and dead letters have to take follows.
            let bytes = 1_048_588 * random.between(1, 4);
            topic.spec["config"]["max.message.bytes"] = json!(bytes);
            format!("max.message.bytes {bytes}")
        }
        _ => {
            let config = topic.spec["config"].as_object_mut()?;
            if config.remove("segment.bytes").is_some() {
                "segment.bytes is the brokers' affair".into()
            } else {
                config.insert("segment.bytes".into(), json!(67_108_864));
                "segment.bytes 67108864".into()
            }
        }
    };
    Some((name.into(), what))
}

impl Wanted {
    fn projector_of_read_model(&self) -> Value {
        let base = Self::base(&self.run, "");
        let found = base.pipelines[BANK].processors().iter().find(|found| found["name"] == "read-model").cloned();
        found.unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
