//! Samples of the operator's metrics page (OpenMetrics text). Pure.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// The samples of a page whose names begin with `prefix`; lines that are none are left out.
pub fn samples(page: &str, prefix: &str) -> Vec<Sample> {
    page.lines().filter(|line| line.starts_with(prefix)).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, value) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = quoted(value)?;
            labels.insert(label.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Text up to the closing quote, and what comes behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_line_by_line() {
        let page = "\
# HELP tidegate_processor_lag_records Records.
# TYPE tidegate_processor_lag_records gauge
tidegate_processor_lag_records{namespace=\"bank\",pipeline=\"wallet\",processor=\"led\\\"ger\"} 12
tidegate_processor_lag_seconds{} 0.5 1700000000
tidegate_leader 1
tidegate_processor_broken{namespace=\"bank
# EOF
";
        let found = samples(page, "tidegate_processor_");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].labels["processor"].as_str(), found[0].value), ("led\"ger", 12.0));
        assert_eq!((found[1].name.as_str(), found[1].value), ("tidegate_processor_lag_seconds", 0.5));
    }
}
