//! How many requests went to which broker: what whoever reads every few seconds costs the cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Requests by broker; none: a broker of the client library's choice. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<Option<i32>, u64>>>);

impl Tally {
    pub(crate) fn sent(&self, broker: Option<i32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(broker).or_default() += 1;
    }

    /// Requests since the last time.
    pub fn take(&self) -> BTreeMap<Option<i32>, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
