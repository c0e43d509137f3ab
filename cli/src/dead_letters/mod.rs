//! Dead letters, asked of the operator that leads: it reaches Kafka, and this program often does not. Who asks shows that he may act as
//! the processor, by a token of its ServiceAccount that is good for this alone (ADR 64).

mod shown;

use std::{cmp::Reverse, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tidegate_crds::{EventPipeline, pipeline::Processor};
use tidegate_operator::{
    dead_letters::{self as served, End, KEY, LIMIT, Listing, TOKEN, Whole},
    pipeline::object_name,
};

use crate::{
    change,
    cluster::{Cluster, Scope},
    error::Error,
    operator::{Leader, Operator},
    out::Out,
};

/// How long a token is good for, in seconds: the least that the API server gives.
const TOKEN_SECONDS: i64 = 600;

/// Whose dead letters.
#[derive(clap::Args)]
pub struct Whose {
    /// The pipeline
    pipeline: String,
    /// The processor; all that have dead letters without it
    #[arg(short, long)]
    processor: Option<String>,
    /// Namespace; that of the kubeconfig's context without it
    #[arg(short, long)]
    namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

/// Which of them.
#[derive(clap::Args)]
pub struct Which {
    /// Only those that came from this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only those of this class: Poison, Exhausted, Panic, TooLarge, or one of your program's own
    #[arg(long, visible_alias = "reason")]
    error_class: Option<String>,
    /// Only those of this key
    #[arg(long)]
    key: Option<String>,
    /// The most of them, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=LIMIT as u64))]
    limit: u64,
}

/// Where a dead letter is: `PARTITION:OFFSET`, or with its topic, as a list says it: `TOPIC/PARTITION:OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    topic: Option<String>,
    partition: i32,
    offset: i64,
}

/// Some dead letters of a pipeline: of each processor that was asked about, what the operator said.
struct Found {
    lists: Vec<(String, Listing)>,
}

/// A dead letter, and whose it is.
struct Letter {
    processor: Processor,
    whole: Whole,
}

/// A processor's dead letters, and the right to see them.
struct Reader<'a> {
    leader: &'a Leader,
    path: String,
    token: String,
    account: String,
    namespace: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, place) = match text.rsplit_once('/') {
            Some((topic, place)) => (Some(topic).filter(|topic| !topic.is_empty()), place),
            None => (None, text),
        };
        let numbers = place.split_once(':').and_then(|(partition, offset)| {
            Some((partition.parse().ok().filter(|it| *it >= 0)?, offset.parse().ok().filter(|it| *it >= 0)?))
        });
        match numbers {
            Some((partition, offset)) if topic.is_some() || !text.contains('/') => {
                Ok(Self { topic: topic.map(str::to_owned), partition, offset })
            }
            _ => Err("write PARTITION:OFFSET, or TOPIC/PARTITION:OFFSET as `dead-letters list` does".to_owned()),
        }
    }
}

/// Lists them; `json`: for scripts.
pub async fn list(whose: &Whose, which: &Which, json: bool, out: &mut Out) -> Result<(), Error> {
    let cluster = Cluster::connect(whose.context.as_deref()).await?;
    let pipeline = whose.pipeline(&cluster).await?;
    let leader = whose.operator.leader(&cluster).await?;
    let mut lists = Vec::new();
    for processor in processors(&pipeline, whose.processor.as_deref(), None)? {
        let reader = Reader::of(&cluster, &leader, &whose.operator, &pipeline, &processor.name).await?;
        lists.push((processor.name.clone(), reader.list(which).await?));
    }
    let found = Found { lists };
    match json {
        true => out.json(&found.json(which.limit)),
        false => out.text(&shown::list(&found, which.limit, Timestamp::now(), out.paint())),
    }
}

/// Shows one; `json`: for scripts.
pub async fn show(whose: &Whose, place: &Place, json: bool, out: &mut Out) -> Result<(), Error> {
    let cluster = Cluster::connect(whose.context.as_deref()).await?;
    let pipeline = whose.pipeline(&cluster).await?;
    let leader = whose.operator.leader(&cluster).await?;
    let mut refused = None;
    for processor in processors(&pipeline, whose.processor.as_deref(), place.topic.as_deref())? {
        let reader = Reader::of(&cluster, &leader, &whose.operator, &pipeline, &processor.name).await?;
        match reader.show(place).await {
            Ok(whole) => {
                let letter = Letter { processor: processor.clone(), whole };
                return match json {
                    true => out.json(&letter.json()),
                    false => out.text(&shown::one(&letter, &pipeline, Timestamp::now(), out.paint())),
                };
            }
            // A topic may be shared: it may be another's.
            Err(error @ Error::NoDeadLetter(_)) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::NoDeadLetter("there is no such dead letter".to_owned())))
}

impl Whose {
    async fn pipeline(&self, cluster: &Cluster) -> Result<EventPipeline, Error> {
        let scope = Scope { pipeline: Some(&self.pipeline), namespace: self.namespace.as_deref(), everywhere: false };
        let found = cluster.pipelines(&scope).await?.into_iter().next();
        // The scope has one, or is an error.
        found.ok_or_else(|| Error::NoDeadLetter(format!("there is no EventPipeline {}", self.pipeline)))
    }
}

/// The processors that have dead letters: all of them, or the one that is named. `topic`: those whose are there.
fn processors<'a>(
    pipeline: &'a EventPipeline,
    named: Option<&str>,
    topic: Option<&str>,
) -> Result<Vec<&'a Processor>, Error> {
    let all = &pipeline.spec.processors;
    let names = |processors: &[&Processor]| {
        processors.iter().map(|processor| processor.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let pipeline = change::name(pipeline);
    if let Some(named) = named
        && all.iter().all(|processor| processor.name != named)
    {
        let (processor, instead) = (named.to_owned(), names(&all.iter().collect::<Vec<_>>()));
        return Err(Error::NoProcessor { processor, pipeline, instead });
    }
    let having: Vec<_> = all.iter().filter(|processor| processor.dead_letter.is_some()).collect();
    let there = |processor: &&Processor| {
        let its = processor.dead_letter.as_ref().map(|dead_letter| dead_letter.topic.as_str());
        named.is_none_or(|named| named == processor.name) && (topic.is_none() || topic == its)
    };
    let wanted: Vec<_> = having.iter().copied().filter(there).collect();
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    let who = named.map_or_else(|| "no processor".to_owned(), |named| format!("processor {named}"));
    let verb = if named.is_some() { "has no" } else { "has a" };
    let where_ = topic.map_or_else(String::new, |topic| format!(" {topic}"));
    let instead = match having.as_slice() {
        [] => "a processor has dead letters when its spec has deadLetter: {topic: ...}".to_owned(),
        having => format!("those that have dead letters: {}", names(having)),
    };
    Err(Error::NoDeadLetters { said: format!("in {pipeline}, {who} {verb} dead-letter topic{where_}"), instead })
}

impl<'a> Reader<'a> {
    async fn of(
        cluster: &Cluster,
        leader: &'a Leader,
        operator: &Operator,
        pipeline: &EventPipeline,
        processor: &str,
    ) -> Result<Self, Error> {
        let namespace = pipeline.metadata.namespace.clone().unwrap_or_default();
        let name = pipeline.metadata.name.as_deref().unwrap_or_default();
        let account = object_name(pipeline, processor);
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), &namespace);
        let spec = TokenRequestSpec {
            audiences: vec![served::audience(&operator.installation)],
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let made = accounts.create_token_request(&account, &PostParams::default(), &request).await;
        let path = format!("/dead-letters/{namespace}/{name}/{processor}");
        let mut reader = Self { leader, path, token: String::new(), account, namespace };
        let made =
            made.map_err(|error| reader.refused("asking for a token of the processor's ServiceAccount", error))?;
        reader.token = made.status.map(|status| status.token).unwrap_or_default();
        Ok(reader)
    }

    async fn list(&self, which: &Which) -> Result<Listing, Error> {
        let wanted = [("origin", &which.topic), ("errorClass", &which.error_class)];
        let wanted = wanted.iter().filter_map(|(name, value)| Some(format!("&{name}={}", percent(value.as_ref()?))));
        let path = format!("{}?limit={}{}", self.path, which.limit, wanted.collect::<String>());
        let key = which.key.as_ref().map(|key| STANDARD.encode(key));
        let headers: Vec<_> = key.iter().map(|key| (KEY, key.as_str())).collect();
        self.get(&path, &headers).await
    }

    async fn show(&self, place: &Place) -> Result<Whole, Error> {
        self.get(&format!("{}/{}/{}", self.path, place.partition, place.offset), &[]).await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<T, Error> {
        let doing = "asking the operator for dead letters";
        let headers: Vec<_> = [(TOKEN, self.token.as_str())].into_iter().chain(headers.iter().copied()).collect();
        let text = self.leader.get(path, &headers).await.map_err(|error| self.refused(doing, error))?;
        serde_json::from_str(&text).map_err(|error| Error::Kubernetes { doing, said: error.to_string() })
    }

    fn refused(&self, doing: &'static str, error: kube::Error) -> Error {
        match error {
            kube::Error::Api(status) if status.code == 403 => Error::MayNotSee {
                said: status.message,
                account: self.account.clone(),
                namespace: self.namespace.clone(),
            },
            // A path that is not served has no such answer.
            kube::Error::Api(status) if status.code == 404 && status.reason != "NotFound" => Error::NotShown,
            kube::Error::Api(status) if status.code == 404 => Error::NoDeadLetter(status.message),
            kube::Error::Api(status) => Error::Kubernetes { doing, said: status.message },
            other => Error::kubernetes(doing)(other),
        }
    }
}

/// A value of a query, as RFC 3986 has it.
fn percent(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Found {
    /// Letters with the names of their processors: the newest, of all.
    fn letters(&self, limit: u64) -> Vec<(&str, &served::Letter)> {
        let mut letters: Vec<_> = self
            .lists
            .iter()
            .flat_map(|(processor, list)| list.letters.iter().map(|letter| (processor.as_str(), letter)))
            .collect();
        letters.sort_by_key(|(_, letter)| Reverse(letter.at));
        letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        letters
    }

    /// Why there may be more.
    fn end(&self, limit: u64) -> End {
        let ends: Vec<End> = self.lists.iter().map(|(_, list)| list.end).collect();
        let found: usize = self.lists.iter().map(|(_, list)| list.letters.len()).sum();
        match () {
            () if ends.contains(&End::Budget) => End::Budget,
            () if ends.contains(&End::Limit) || found > self.letters(limit).len() => End::Limit,
            () => End::All,
        }
    }

    fn json(&self, limit: u64) -> Value {
        let one = |(processor, letter): &(&str, &served::Letter)| {
            let mut value = json!(letter);
            value["processor"] = json!(processor);
            value
        };
        json!({"letters": self.letters(limit).iter().map(one).collect::<Vec<_>>(), "end": self.end(limit)})
    }
}

impl Letter {
    fn json(&self) -> Value {
        let mut value = json!(self.whole);
        value["processor"] = json!(self.processor.name);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wallet;

    #[test]
    fn a_place_is_read_as_a_list_says_it() {
        let place = |topic: Option<&str>| Place { topic: topic.map(str::to_owned), partition: 3, offset: 41 };
        assert_eq!("3:41".parse(), Ok(place(None)));
        assert_eq!("wallet-events.dlq/3:41".parse(), Ok(place(Some("wallet-events.dlq"))));
        for text in ["", "3", "3:", ":41", "/3:41", "a/b", "-1:4", "3:-1", "a:b", "3:41:5"] {
            assert!(text.parse::<Place>().unwrap_err().contains("PARTITION:OFFSET"), "{text}");
        }
    }

    #[test]
    fn who_has_no_dead_letters_is_told_who_has() {
        let pipeline = wallet(Value::Null);
        let names = |named, topic| {
            let found = processors(&pipeline, named, topic).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.into_iter().map(|processor| processor.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(None, None).unwrap(), ["ledger"]);
        assert_eq!(names(Some("ledger"), Some("dead")).unwrap(), ["ledger"]);
        for (named, topic, words) in [
            (Some("ledgre"), None, ["no processor ledgre", "commands, ledger, read-model"]),
            (Some("commands"), None, ["processor commands has no dead-letter topic", "that have dead letters: ledger"]),
            (None, Some("other"), ["no processor has a dead-letter topic other", "that have dead letters: ledger"]),
            (Some("ledger"), Some("x"), ["processor ledger has no dead-letter topic x", "ledger"]),
        ] {
            let said = names(named, topic).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_is_asked_for_stays_one_value_of_a_query() {
        assert_eq!(percent("a.b-c_d~9"), "a.b-c_d~9");
        assert_eq!(percent("a&b=c €"), "a%26b%3Dc%20%E2%82%AC");
    }
}
