//! What a person may ask of a processor: to read again, or to take dead letters back. Looked at first, then applied, as a part of the
//! resource that is this program's own (server-side apply). Pure but for [`apply`].

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tidegate_crds::EventPipeline;

use crate::{cluster::Cluster, error::Error, metrics::Sample};

/// The most dead letters that a redrive takes where nobody says how many.
const DEFAULT_MAX: i64 = 1000;

/// Whose fields they are.
const MANAGER: &str = "kubectl-tidegate";

/// A wish about one processor.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// To read again.
    Replay {
        /// Its id.
        id: String,
        /// Where it begins.
        from: From,
    },
    /// To handle dead letters again.
    Redrive {
        /// Its id.
        id: String,
        /// The most records; none: [`DEFAULT_MAX`].
        max: Option<i64>,
        /// Only those of this class.
        error_class: Option<String>,
    },
}

/// Where a replay begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record that is not older: RFC 3339.
    Time(String),
    /// Where the group was before that replay.
    Undo(String),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.strip_prefix("undo:") {
                Some(id) if !id.is_empty() => Ok(Self::Undo(id.to_owned())),
                // Kafka's API server reads the rest of it; a date is what people mean.
                _ if text.len() >= 20 && text.contains('T') && text.starts_with(|char: char| char.is_ascii_digit()) => {
                    Ok(Self::Time(text.to_owned()))
                }
                _ => {
                    Err("write earliest, latest, a time such as 2025-01-31T08:00:00Z, or undo:ID of an earlier replay"
                        .to_owned())
                }
            },
        }
    }
}

impl Change {
    /// The field of the processor, and its value.
    pub fn field(&self) -> (&'static str, Value) {
        match self {
            Self::Replay { id, from } => {
                let from = match from {
                    From::Earliest => json!({"position": "Earliest"}),
                    From::Latest => json!({"position": "Latest"}),
                    From::Time(time) => json!({"timestamp": time}),
                    From::Undo(id) => json!({"replay": id}),
                };
                ("replay", json!({"id": id, "from": from}))
            }
            Self::Redrive { id, max, error_class } => {
                let mut redrive = json!({"id": id});
                if let Some(max) = max {
                    redrive["max"] = json!(max);
                }
                if let Some(class) = error_class {
                    redrive["match"] = json!({"errorClass": class});
                }
                ("redrive", redrive)
            }
        }
    }

    /// What it would do, by what the status and the operator's metrics say, and how to say it in a file.
    pub fn preview(&self, pipeline: &EventPipeline, processor: &str, samples: &[Sample]) -> String {
        let mut text = format!("{} of processor {processor}, {}\n", self.field().0, name(pipeline));
        for line in self.consequences(pipeline, processor, samples) {
            text += &format!("  {line}\n");
        }
        let (field, value) = self.field();
        text + &format!(
            "\nNothing is changed yet. --yes applies it; so does, in the file that describes the pipeline, below {processor}:\n\n    {field}: {value}\n"
        )
    }

    fn consequences(&self, pipeline: &EventPipeline, processor: &str, samples: &[Sample]) -> Vec<String> {
        match self {
            Self::Replay { from, .. } => {
                let committed = committed(pipeline, processor, samples);
                let read = match (from, committed.len()) {
                    (From::Earliest, 0) => {
                        "every record that its topics hold is read again; how many is not known now".to_owned()
                    }
                    (From::Earliest, partitions) => format!(
                        "at most {:.0} records of {partitions} partitions are read again: those that the topics hold up to where its group is",
                        committed.iter().sum::<f64>()
                    ),
                    (From::Latest, _) => "what it has not read so far is skipped".to_owned(),
                    (From::Time(time), _) => format!(
                        "in each partition, what is not older than {time} is read again, or skipped up to there"
                    ),
                    (From::Undo(id), _) => format!("its group goes back to where it was before replay {id}"),
                };
                vec![read, "its pods are stopped meanwhile, and start with a new generation".to_owned()]
            }
            Self::Redrive { max, error_class, .. } => {
                let held = pipeline.status.iter().flat_map(|status| &status.processors);
                let held = held.filter(|seen| seen.name == processor).find_map(|seen| seen.dead_letters);
                let held = held.map_or_else(|| "an unknown number of".to_owned(), |held| held.to_string());
                let bound = max.unwrap_or(DEFAULT_MAX);
                let class = error_class.as_ref().map_or_else(String::new, |class| format!(" of class {class}"));
                vec![format!(
                    "its dead-letter topic holds {held} records, those of other processors included; of its own{class}, at most {bound} are handled again"
                )]
            }
        }
    }
}

/// Offsets that the processor's group has committed, a number for each partition.
fn committed(pipeline: &EventPipeline, processor: &str, samples: &[Sample]) -> Vec<f64> {
    let (namespace, name) = (pipeline.metadata.namespace.as_deref(), pipeline.metadata.name.as_deref());
    let is_its = |sample: &&Sample| {
        let label = |key: &str| sample.labels.get(key).map(String::as_str);
        sample.name == "tidegate_processor_partition_committed_offset"
            && (label("namespace"), label("pipeline"), label("processor")) == (namespace, name, Some(processor))
    };
    samples.iter().filter(is_its).map(|sample| sample.value).collect()
}

/// Whether the processor is there, and the id is new.
pub fn check(change: &Change, pipeline: &EventPipeline, processor: &str) -> Result<(), Error> {
    let known: Vec<&str> = pipeline.spec.processors.iter().map(|processor| processor.name.as_str()).collect();
    if !known.contains(&processor) {
        let (processor, instead) = (processor.to_owned(), known.join(", "));
        return Err(Error::NoProcessor { processor, pipeline: name(pipeline), instead });
    }
    let (Change::Replay { id, .. } | Change::Redrive { id, .. }) = change;
    let status = serde_json::to_value(&pipeline.status).unwrap_or_default();
    let list = match change {
        Change::Replay { .. } => &status["replays"],
        Change::Redrive { .. } => &status["redrives"],
    };
    let ran = |entry: &&Value| entry["id"] == id.as_str() && entry["processor"] == processor;
    match list.as_array().into_iter().flatten().find(ran) {
        Some(entry) => {
            Err(Error::IdUsed { id: id.clone(), phase: entry["phase"].as_str().unwrap_or("known").to_owned() })
        }
        None => Ok(()),
    }
}

/// Applies it.
pub async fn apply(cluster: &Cluster, pipeline: &EventPipeline, processor: &str, change: &Change) -> Result<(), Error> {
    let (namespace, name) =
        (pipeline.metadata.namespace.clone().unwrap_or_default(), pipeline.metadata.name.clone().unwrap_or_default());
    let api: Api<EventPipeline> = Api::namespaced(cluster.client.clone(), &namespace);
    let patch = patch(&name, processor, change);
    let applied = api.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(patch)).await;
    applied.map(drop).map_err(Error::kubernetes("changing the EventPipeline"))
}

fn patch(pipeline: &str, processor: &str, change: &Change) -> Value {
    let (field, value) = change.field();
    let mut part = json!({"name": processor});
    part[field] = value;
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "metadata": {"name": pipeline}, "spec": {"processors": [part]},
    })
}

/// `namespace/name`.
pub fn name(pipeline: &EventPipeline) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", of(&pipeline.metadata.namespace), of(&pipeline.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::samples, testing::wallet};

    fn pipeline() -> EventPipeline {
        wallet(json!({"processors": [{"name": "ledger", "deadLetters": 12}]}))
    }

    #[test]
    fn where_a_replay_begins_is_said_as_people_say_it() {
        for (text, value) in [
            ("earliest", json!({"position": "Earliest"})),
            ("latest", json!({"position": "Latest"})),
            ("2025-01-31T08:00:00Z", json!({"timestamp": "2025-01-31T08:00:00Z"})),
            ("undo:fix-1", json!({"replay": "fix-1"})),
        ] {
            let change = Change::Replay { id: "again".into(), from: text.parse().unwrap() };
            assert_eq!(change.field(), ("replay", json!({"id": "again", "from": value})));
        }
        for text in ["", "Earliest", "undo:", "yesterday", "12"] {
            assert!(text.parse::<From>().unwrap_err().contains("earliest, latest"), "{text}");
        }
    }

    #[test]
    fn a_preview_says_how_much_and_how_to_write_it() {
        let page = "\
tidegate_processor_partition_committed_offset{namespace=\"bank\",pipeline=\"wallet\",processor=\"ledger\",topic=\"e\",partition=\"0\"} 40
tidegate_processor_partition_committed_offset{namespace=\"bank\",pipeline=\"wallet\",processor=\"ledger\",topic=\"e\",partition=\"1\"} 2
tidegate_processor_partition_committed_offset{namespace=\"bank\",pipeline=\"other\",processor=\"ledger\",topic=\"e\",partition=\"1\"} 7
";
        let replay = Change::Replay { id: "again".into(), from: From::Earliest };
        let text = replay.preview(&pipeline(), "ledger", &samples(page, "tidegate_"));
        assert!(text.contains("at most 42 records of 2 partitions"), "{text}");
        assert!(text.contains(r#"replay: {"from":{"position":"Earliest"},"id":"again"}"#), "{text}");
        let redrive = Change::Redrive { id: "b".into(), max: Some(5), error_class: Some("Exhausted".into()) };
        let text = redrive.preview(&pipeline(), "ledger", &[]);
        assert!(
            text.contains("holds 12 records") && text.contains("of its own of class Exhausted, at most 5 are"),
            "{text}"
        );
    }

    #[test]
    fn only_the_one_field_is_applied() {
        let redrive = Change::Redrive { id: "b".into(), max: None, error_class: None };
        let processors = &patch("wallet", "ledger", &redrive)["spec"]["processors"];
        assert_eq!(*processors, json!([{"name": "ledger", "redrive": {"id": "b"}}]));
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused_with_those_that_are() {
        let redrive = Change::Redrive { id: "b".into(), max: None, error_class: None };
        let error = check(&redrive, &pipeline(), "ledgre").unwrap_err().to_string();
        assert!(error.contains("no processor ledgre") && error.contains("ledger"), "{error}");
        check(&redrive, &pipeline(), "ledger").unwrap();
    }
}
