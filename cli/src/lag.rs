//! Lag of each processor as the operator reads it: from the metrics of the pod that leads, through the API server, because a status is
//! written at most every 30 s.

use serde_json::{Value, json};
use tidegate_crds::EventPipeline;

use crate::{
    cluster::Cluster,
    error::Error,
    metrics::{Sample, samples},
    operator::Operator,
    out::Paint,
    table::table,
};

const PREFIX: &str = "tidegate_processor_";

/// One processor that reads something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its pipeline, `namespace/name`.
    pub pipeline: String,
    /// Its name.
    pub processor: String,
    /// Its group.
    pub group: String,
    /// Records behind; none while that is unknown.
    pub records: Option<f64>,
    /// Age of the oldest unprocessed record in seconds; none while that is unknown.
    pub seconds: Option<f64>,
    /// Seconds until it has caught up, at the pace of now; none where it does not catch up, or nobody knows.
    pub drain: Option<f64>,
    /// Records that wait to be tried again; none where there is no retry topic, or nobody knows.
    pub retries: Option<f64>,
}

/// Reads the operator's numbers of these pipelines.
pub async fn read(cluster: &Cluster, operator: &Operator, pipelines: &[EventPipeline]) -> Result<Vec<Line>, Error> {
    Ok(lines(pipelines, &samples_of(cluster, operator).await?))
}

/// What the operator's metrics say of processors.
pub async fn samples_of(cluster: &Cluster, operator: &Operator) -> Result<Vec<Sample>, Error> {
    let page = operator.leader(cluster).await?.get("/metrics", &[]).await;
    Ok(samples(&page.map_err(Error::kubernetes("reading the operator's metrics"))?, PREFIX))
}

fn lines(pipelines: &[EventPipeline], samples: &[Sample]) -> Vec<Line> {
    let mut lines = Vec::new();
    for pipeline in pipelines {
        let (namespace, name) = (pipeline.metadata.namespace.as_deref(), pipeline.metadata.name.as_deref());
        for processor in &pipeline.spec.processors {
            let Some(consumes) = &processor.consumes else { continue };
            let is_its = |sample: &&Sample| {
                let label = |key: &str| sample.labels.get(key).map(String::as_str);
                label("namespace") == namespace
                    && label("pipeline") == name
                    && label("processor") == Some(processor.name.as_str())
            };
            let value = |metric: &str| {
                let named = |sample: &&Sample| sample.name.strip_prefix(PREFIX) == Some(metric);
                samples.iter().filter(named).find(is_its).map(|sample| sample.value)
            };
            lines.push(Line {
                pipeline: format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()),
                processor: processor.name.clone(),
                group: consumes.group.clone(),
                records: value("lag_records"),
                seconds: value("lag_seconds"),
                drain: value("lag_drain_seconds"),
                retries: value("retry_records"),
            });
        }
    }
    lines
}

/// For people.
pub fn table_of(lines: &[Line], paint: Paint) -> String {
    if lines.is_empty() {
        return "no processor here reads a topic; -A shows those of every namespace\n".to_owned();
    }
    let count = |number: Option<f64>| number.map_or("?".to_owned(), |number| format!("{number:.0}"));
    let time = |seconds: Option<f64>, otherwise: &str| seconds.map_or(otherwise.to_owned(), span);
    let mut cells: Vec<Vec<String>> = vec![
        ["PIPELINE", "PROCESSOR", "GROUP", "RECORDS", "OLDEST", "CAUGHT UP IN", "RETRIES"].map(str::to_owned).into(),
    ];
    for line in lines {
        let behind = line.records.is_none_or(|records| records > 0.0);
        let records = count(line.records);
        cells.push(vec![
            line.pipeline.clone(),
            line.processor.clone(),
            line.group.clone(),
            if behind { paint.odd(&records) } else { paint.good(&records) },
            time(line.seconds, "?"),
            time(line.drain, "-"),
            line.retries.map_or("-".to_owned(), |retries| format!("{retries:.0}")),
        ]);
    }
    table(&cells)
}

/// 0s, 1.5s, 42s, 3m10s, 2h05m, 4d03h.
pub fn span(seconds: f64) -> String {
    if seconds > 0.0 && seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// For scripts.
pub fn json(lines: &[Line]) -> Value {
    let one = |line: &Line| {
        json!({
            "pipeline": line.pipeline, "processor": line.processor, "group": line.group, "lagRecords": line.records,
            "lagSeconds": line.seconds, "drainSeconds": line.drain, "retryRecords": line.retries,
        })
    };
    lines.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wallet;

    const PAGE: &str = "\
tidegate_processor_lag_records{namespace=\"bank\",pipeline=\"wallet\",processor=\"ledger\"} 1200
tidegate_processor_lag_seconds{namespace=\"bank\",pipeline=\"wallet\",processor=\"ledger\"} 190
tidegate_processor_lag_records{namespace=\"elsewhere\",pipeline=\"wallet\",processor=\"ledger\"} 7
tidegate_processor_lag_records{namespace=\"bank\",pipeline=\"wallet\",processor=\"read-model\"} 0
";

    #[test]
    fn each_processor_that_reads_has_a_line_and_what_is_absent_is_unknown() {
        let lines = lines(&[wallet(Value::Null)], &samples(PAGE, PREFIX));
        let text = table_of(&lines, Paint(false));
        let expected = "\
PIPELINE     PROCESSOR   GROUP       RECORDS  OLDEST  CAUGHT UP IN  RETRIES
bank/wallet  ledger      ledger      1200     3m10s   -             -
bank/wallet  read-model  read-model  0        ?       -             -
";
        assert_eq!(text, expected);
        assert_eq!(json(&lines)[1]["lagSeconds"], Value::Null);
    }

    #[test]
    fn spans_are_short() {
        let shown: Vec<String> = [0.0, 0.04, 9.94, 42.4, 190.0, 7500.0, 360_000.0].map(span).into();
        assert_eq!(shown, ["0s", "0.0s", "9.9s", "42s", "3m10s", "2h05m", "4d04h"]);
    }
}
