//! What a benchmark says: a JSON object a line on standard output, and a line for people on standard error.

use std::{fmt, fs};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// A measure that something must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// The ratio of value to reference must be at least this.
    RatioAtLeast(f64),
    /// The ratio must be at most this.
    RatioAtMost(f64),
    /// The value must be at most this, in its unit.
    AtMost(f64),
    /// The value must be below this, in its unit.
    Below(f64),
}

impl Aim {
    fn is_reached(self, value: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Self::AtMost(most) => value <= most,
            Self::Below(limit) => value < limit,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(least) => write!(f, "ratio >= {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio <= {most}"),
            Self::AtMost(most) => write!(f, "value <= {most}"),
            Self::Below(limit) => write!(f, "value < {limit}"),
        }
    }
}

/// One figure of a benchmark.
pub struct Figure {
    /// What was measured.
    pub case: String,
    /// In which unit.
    pub unit: &'static str,
    /// Ours.
    pub value: f64,
    /// The reference's, if the case has one.
    pub reference: Option<f64>,
    /// What is aimed at, if anything is.
    pub aim: Option<Aim>,
    /// The numbers behind it.
    pub raw: Value,
}

/// Prints the figures of one benchmark.
pub struct Report {
    bench: &'static str,
    about: Map<String, Value>,
}

impl Report {
    /// A report of that benchmark; `versions` are those of what was measured.
    pub fn new(bench: &'static str, versions: Value) -> Self {
        Self { bench, about: Map::from_iter([("versions".to_owned(), versions), ("machine".to_owned(), machine())]) }
    }

    /// Prints a figure.
    #[allow(clippy::print_stdout, reason = "it is what the program is for")]
    pub fn print(&self, figure: Figure) {
        let (document, line) = self.describe(figure);
        println!("{document}");
        eprintln!("{line}");
    }

    fn describe(&self, figure: Figure) -> (Value, String) {
        let Figure { case, unit, value, reference, aim, raw } = figure;
        let ratio = reference.filter(|&reference| reference > 0.0).map(|reference| value / reference);
        let reached = aim.map(|aim| aim.is_reached(value, ratio));
        let mut line = format!("{} {case}: {} {unit}", self.bench, rounded(value));
        if let (Some(reference), Some(ratio)) = (reference, ratio) {
            line += &format!(", reference {} {unit}, ratio {ratio:.2}", rounded(reference));
        }
        if let (Some(aim), Some(reached)) = (aim, reached) {
            line += &format!("; aim {aim}: {}", if reached { "reached" } else { "NOT REACHED" });
        }
        let mut document = json!({
            "bench": self.bench,
            "case": case,
            "unit": unit,
            "value": rounded(value),
            "reference": reference.map(rounded),
            "ratio": ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0),
            "aim": aim.map(|aim| aim.to_string()),
            "reached": reached,
            "raw": raw,
        });
        if let Value::Object(fields) = &mut document {
            fields.extend(self.about.clone());
            fields.insert("load".into(), load());
        }
        (document, line)
    }
}

/// Three decimals below 100, one beyond.
pub fn rounded(value: f64) -> f64 {
    let scale = if value.abs() < 100.0 { 1000.0 } else { 10.0 };
    (value * scale).round() / scale
}

/// The middle of the values; of an even number, between the middle two. Zero for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A percentile of a histogram of microseconds, in ms.
pub fn percentile(histogram: &Histogram<u64>, percent: f64) -> f64 {
    histogram.value_at_percentile(percent) as f64 / 1000.0
}

/// The usual percentiles of a histogram of microseconds, in ms.
pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    let of = |percent| rounded(percentile(histogram, percent));
    json!({"p50": of(50.0), "p90": of(90.0), "p99": of(99.0), "p99.9": of(99.9), "max": of(100.0), "samples": histogram.len()})
}

/// What it ran on.
fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|kib| kib.split(' ').next()?.parse::<u64>().ok());
    json!({
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memoryMiB": memory.map(|kib| kib / 1024),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// The load averages over 1, 5 and 15 minutes: how much else the machine was doing.
fn load() -> Value {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).map(|average| average.parse::<f64>().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_reached_or_not() {
        for (aim, value, ratio, reached) in [
            (Aim::RatioAtLeast(3.0), 1.0, Some(3.0), true),
            (Aim::RatioAtLeast(3.0), 9.0, Some(2.9), false),
            (Aim::RatioAtLeast(3.0), 9.0, None, false),
            (Aim::RatioAtMost(1.5), 9.0, Some(1.5), true),
            (Aim::RatioAtMost(1.5), 9.0, Some(1.6), false),
            (Aim::AtMost(50.0), 50.0, None, true),
            (Aim::Below(50.0), 50.0, None, false),
        ] {
            assert_eq!(aim.is_reached(value, ratio), reached, "{aim}");
        }
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn a_figure_is_told_to_programs_and_to_people() {
        let report = Report::new("wallet", json!({}));
        let figure = Figure {
            case: "uniform".into(),
            unit: "transfers/s",
            value: 300.0,
            reference: Some(100.0),
            aim: Some(Aim::RatioAtLeast(3.0)),
            raw: json!({"rounds": [300]}),
        };
        let (document, line) = report.describe(figure);
        assert_eq!(
            line,
            "wallet uniform: 300 transfers/s, reference 100 transfers/s, ratio 3.00; aim ratio >= 3: reached"
        );
        assert_eq!((&document["ratio"], &document["reached"]), (&json!(3.0), &json!(true)));
        for field in ["bench", "case", "unit", "value", "reference", "aim", "raw", "versions", "machine", "load"] {
            assert!(document.get(field).is_some(), "{field}");
        }
    }
}
