//! Dead letters for people. Pure.

use jiff::Timestamp;
use tidegate_crds::EventPipeline;
use tidegate_operator::dead_letters::{End, Letter, Origin};

use super::Found;
use crate::{
    bytes::{block, line, safe, short},
    change,
    lag::span,
    out::Paint,
    table::table,
};

/// Characters of a key, and of an error, in a list.
const KEY: usize = 36;
const ERROR: usize = 80;

/// Headers that are told in words.
const OWN: &str = "tidegate-";

/// A line for each.
pub fn list(found: &Found, limit: u64, now: Timestamp, paint: Paint) -> String {
    let letters = found.letters(limit);
    let held: i64 = found.lists.iter().map(|(_, list)| list.held).sum();
    let looked: i64 = found.lists.iter().map(|(_, list)| list.looked).sum();
    let several = found.lists.len() > 1;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let heading = ["PLACE", "AGE", "CLASS", "TRIES", "KEY", "FROM", "REDRIVEN", "ERROR"].map(str::to_owned);
    let owner = |processor: &str| several.then(|| processor.to_owned());
    lines.push(owner("PROCESSOR").into_iter().chain(heading).collect());
    for (processor, letter) in &letters {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let cells = [
            place(letter),
            or_none(letter.at.map(|at| age(at, now))),
            paint.odd(&or_none(letter.error_class.as_deref().map(|class| short(class, KEY)))),
            or_none(letter.attempts.map(|attempts| attempts.to_string())),
            or_none(letter.key.as_ref().map(|key| short(&line(key), KEY))),
            origin(&letter.origin),
            or_none(letter.redriven.as_deref().map(safe)),
            or_none(letter.error.as_deref().map(|error| short(error, ERROR))),
        ];
        lines.push(owner(processor).into_iter().chain(cells).collect());
    }
    let end = match found.end(limit) {
        End::All if letters.is_empty() => return "no dead letters like that\n".to_owned(),
        End::All => String::new(),
        End::Limit => format!("\nthe newest {}; there may be more: --limit\n", letters.len()),
        End::Budget => format!(
            "\nthe newest {looked} of {held} offsets were looked at, which took as long as it may; --processor, --topic and --error-class narrow what is shown, not what is looked at\n"
        ),
    };
    table(&lines) + &end
}

/// All of one.
pub fn one(of: &super::Letter, pipeline: &EventPipeline, now: Timestamp, paint: Paint) -> String {
    let (letter, processor) = (&of.whole.letter, &of.processor);
    let class = letter.error_class.as_deref().unwrap_or("unknown");
    let when = letter.at.map_or_else(|| "nobody knows when".to_owned(), |at| format!("{at}, {} ago", age(at, now)));
    let group = processor.consumes.as_ref().map(|consumes| consumes.group.as_str()).unwrap_or_default();
    let tries = match letter.attempts {
        Some(1) => "after 1 try".to_owned(),
        Some(tries) => format!("after {tries} tries"),
        None => "after an unknown number of tries".to_owned(),
    };
    let written = letter.origin.at.map_or_else(String::new, |at| format!(", written {at}"));
    let redriven = letter.redriven.as_deref().map(|id| format!("by {}; here it stays as history", safe(id)));
    let mut lines = vec![
        ("given up", format!("{when}, by group {group}, {tries}")),
        ("why", format!("{}: {}", paint.bad(&safe(class)), why(class))),
        ("error", letter.error.as_deref().map_or_else(|| "nothing was said".to_owned(), safe)),
        ("came from", origin(&letter.origin) + &written),
        ("redriven", redriven.unwrap_or_else(|| "not, as far as status.redrives remembers".to_owned())),
        ("key", letter.key.as_ref().map_or_else(|| "none".to_owned(), line)),
    ];
    let headers: Vec<_> = of.whole.headers.iter().filter(|header| !header.name.starts_with(OWN)).collect();
    for (at, header) in headers.iter().enumerate() {
        let value = header.value.as_ref().map_or_else(|| "(none)".to_owned(), line);
        lines.push((if at == 0 { "headers" } else { "" }, format!("{}: {value}", safe(&header.name))));
    }
    let size = of.whole.value.as_ref().map_or_else(|| "none: a tombstone".to_owned(), |value| bytes(value.size));
    lines.push(("value", size));
    let lines: Vec<Vec<String>> = lines.into_iter().map(|(word, said)| vec![format!("  {word}"), said]).collect();
    let mut text = format!("{} of {}, processor {}\n", place(letter), change::name(pipeline), processor.name);
    text += &table(&lines);
    if let Some(value) = &of.whole.value {
        text += &format!("\n{}", block(value));
    }
    if processor.retry_topics().iter().any(|(topic, _)| Some(*topic) == letter.origin.topic.as_deref()) {
        let wanted = short(class, 63);
        text += &format!(
            "\nWhen the cause is mended, this has its like tried again (a look first; --yes does it):\n  kubectl tidegate redrive {} {} -n {} --id ID --error-class {}\n",
            pipeline.metadata.name.as_deref().unwrap_or_default(),
            processor.name,
            pipeline.metadata.namespace.as_deref().unwrap_or_default(),
            if wanted.chars().all(|char| char.is_ascii_alphanumeric()) { wanted } else { "CLASS".to_owned() },
        );
    }
    text
}

fn why(class: &str) -> &'static str {
    match class {
        "Poison" => "it cannot be handled, now or ever",
        "Exhausted" => "every try failed",
        "Panic" => "the last try ended in a panic",
        "TooLarge" => "it does not fit into the retry topic",
        _ => "a class of the program's own",
    }
}

fn place(letter: &Letter) -> String {
    format!("{}/{}:{}", letter.topic, letter.partition, letter.offset)
}

fn origin(origin: &Origin) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let topic = origin.topic.as_deref().map_or_else(|| "?".to_owned(), safe);
    format!("{topic}/{}:{}", number(origin.partition.map(i64::from)), number(origin.offset))
}

fn bytes(size: usize) -> String {
    if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") }
}

fn age(at: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(at).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_operator::dead_letters::{Listing, Whole};

    use super::*;
    use crate::{dead_letters, out::Paint, testing::wallet};

    fn letter(offset: i64, more: Value) -> Value {
        let mut letter = json!({
            "topic": "dead", "partition": 1, "offset": offset, "at": format!("2026-01-01T00:00:{offset:02}Z"),
            "key": {"size": 3, "text": "bob"}, "valueSize": 2, "errorClass": "Exhausted", "error": "no such wallet", "attempts": 5,
            "origin": {"topic": "events", "partition": 2, "offset": 1041, "at": "2025-12-31T23:59:59Z"}, "redriven": null,
        });
        letter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        letter
    }

    fn listing(letters: Vec<Value>, end: &str) -> Listing {
        serde_json::from_value(json!({"letters": letters, "held": 90, "looked": 40, "end": end})).unwrap()
    }

    fn listed(lists: Vec<(&str, Listing)>, limit: u64) -> String {
        let found = Found { lists: lists.into_iter().map(|(name, list)| (name.to_owned(), list)).collect() };
        list(&found, limit, "2026-01-01T00:02:00Z".parse().unwrap(), Paint(false))
    }

    #[test]
    fn a_list_says_where_when_why_and_what() {
        let strange = json!({
            "key": {"size": 2, "base64": "/wA="}, "error": "\u{1b}[2Jgone", "attempts": null, "errorClass": null,
            "origin": {"topic": null, "partition": null, "offset": null, "at": null}, "redriven": "fix-1",
        });
        let text = listed(vec![("ledger", listing(vec![letter(30, json!({})), letter(9, strange)], "All"))], 20);
        let expected = "\
PLACE      AGE    CLASS      TRIES  KEY       FROM           REDRIVEN  ERROR
dead/1:30  1m30s  Exhausted  5      bob       events/2:1041  -         no such wallet
dead/1:9   1m51s  -          -      \\xff\\x00  ?/?:?          fix-1     \\u{1b}[2Jgone
";
        assert_eq!(text, expected);
    }

    #[test]
    fn of_several_processors_the_newest_come_first_and_what_is_left_out_is_said() {
        let lists = |end| {
            vec![
                ("ledger", listing(vec![letter(5, json!({})), letter(1, json!({}))], end)),
                ("read-model", listing(vec![letter(3, json!({}))], "All")),
            ]
        };
        let text = listed(lists("All"), 2);
        let begins: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().take(2).collect())
            .filter(|it: &Vec<_>| it.len() == 2)
            .collect();
        assert_eq!(begins[..3], [["PROCESSOR", "PLACE"], ["ledger", "dead/1:5"], ["read-model", "dead/1:3"]], "{text}");
        assert!(text.ends_with("the newest 2; there may be more: --limit\n"), "{text}");
        assert!(!listed(lists("All"), 3).contains("more"));
        assert!(listed(lists("Budget"), 3).contains("80 of 180 offsets"));
        assert_eq!(listed(vec![("ledger", listing(vec![], "All"))], 3), "no dead letters like that\n");
    }

    fn shown(more: Value) -> String {
        let whole: Whole = serde_json::from_value(letter(30, more)).unwrap();
        let pipeline = wallet(Value::Null);
        let processor = pipeline.spec.processors[1].clone();
        let letter = dead_letters::Letter { processor, whole };
        one(&letter, &pipeline, "2026-01-01T00:02:00Z".parse().unwrap(), Paint(false))
    }

    #[test]
    fn one_is_told_in_words_and_its_bytes_are_harmless() {
        let text = shown(json!({
            "value": {"size": 12, "text": "{\"a\":\n\u{9b}31m}"},
            "headers": [
                {"name": "eventType", "value": {"size": 8, "text": "Credited"}}, {"name": "trace\r", "value": null},
                {"name": "tidegate-error", "value": {"size": 14, "text": "no such wallet"}},
            ],
        }));
        let expected = "\
dead/1:30 of bank/wallet, processor ledger
  given up   2026-01-01T00:00:30Z, 1m30s ago, by group ledger, after 5 tries
  why        Exhausted: every try failed
  error      no such wallet
  came from  events/2:1041, written 2025-12-31T23:59:59Z
  redriven   not, as far as status.redrives remembers
  key        bob
  headers    eventType: Credited
             trace\\r: (none)
  value      12 bytes

  {\"a\":
  \\u{9b}31m}

When the cause is mended, this has its like tried again (a look first; --yes does it):
  kubectl tidegate redrive wallet ledger -n bank --id ID --error-class Exhausted
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_a_letter_does_not_have_is_said_and_what_cannot_be_redriven_is_not_offered() {
        let text = shown(json!({
            "key": null, "value": null, "headers": [], "redriven": "fix-1", "errorClass": "x; rm -rf /", "error": null,
        }));
        for words in
            ["key        none", "a tombstone", "by fix-1", "a class of the program's own", "--error-class CLASS"]
        {
            assert!(text.contains(words), "{text} lacks {words}");
        }
        let foreign = json!({"topic": "other", "partition": 0, "offset": 0, "at": null});
        assert!(!shown(json!({"value": null, "headers": [], "origin": foreign})).contains("redrive wallet"));
    }
}
