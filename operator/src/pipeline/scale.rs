//! How many pods a processor is to have, and how many it gets back when a suspension ends. Pure.

use tidegate_crds::pipeline::Processor;

/// A processor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Pods to set; none leaves the number to others.
    pub replicas: Option<i32>,
    /// Pods to come back to; kept in the status while suspended.
    pub before_suspend: Option<i32>,
}

impl Scale {
    /// Pods that the processor has when it is not suspended, where that is known.
    pub fn awake(&self, live: Option<i32>) -> Option<i32> {
        self.before_suspend.or(self.replicas).or(live)
    }
}

/// Decides. `decided`: what the processor's `scaling` has decided on, where it has that; `kept`: the number in the status; `live`: that of the
/// Deployment, if there is one.
pub fn scale(
    processor: &Processor,
    decided: Option<i32>,
    suspend: bool,
    kept: Option<i32>,
    live: Option<i32>,
) -> Scale {
    let said = processor.replicas.or(decided);
    if suspend {
        let before = kept.or(live.filter(|live| *live > 0)).unwrap_or(1);
        return Scale { replicas: Some(0), before_suspend: Some(said.unwrap_or(before)) };
    }
    Scale { replicas: said.or(kept), before_suspend: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(replicas: Option<i32>) -> Processor {
        serde_json::from_value(serde_json::json!({
            "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "replicas": replicas,
        }))
        .unwrap()
    }

    #[test]
    fn who_says_how_many() {
        // spec, decided, suspended, kept, live -> to set, to keep
        let cases = [
            (Some(3), None, false, None, None, Some(3), None),
            (Some(3), None, false, None, Some(7), Some(3), None),
            (None, None, false, None, Some(7), None, None),
            (None, None, false, None, None, None, None),
            // Suspended: what others had set comes back, what the spec says comes back.
            (None, None, true, None, Some(7), Some(0), Some(7)),
            (None, None, true, Some(7), Some(0), Some(0), Some(7)),
            (None, None, false, Some(7), Some(0), Some(7), None),
            (Some(3), None, true, None, Some(3), Some(0), Some(3)),
            (Some(4), None, true, Some(3), Some(0), Some(0), Some(4)),
            (None, None, true, None, None, Some(0), Some(1)),
            // Decided by lag: whatever runs, and none at all where nothing is to do.
            (None, Some(5), false, None, Some(2), Some(5), None),
            (None, Some(5), true, None, Some(2), Some(0), Some(5)),
            (None, Some(5), false, Some(2), Some(0), Some(5), None),
            (None, Some(0), true, None, Some(0), Some(0), Some(0)),
        ];
        for (spec, decided, suspended, kept, live, set, keep) in cases {
            let found = scale(&processor(spec), decided, suspended, kept, live);
            let expected = Scale { replicas: set, before_suspend: keep };
            assert_eq!(found, expected, "{spec:?} {decided:?} {suspended} {kept:?} {live:?}");
        }
    }
}
