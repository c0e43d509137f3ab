//! Whether the process is alive, ready, and what it says of itself.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// A part of the process that may not be ready, or not alive. Either is asked at each probe, and answers at once.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    ready: Probe,
    alive: Probe,
}

impl Check {
    /// A part that is always alive, and ready when `ready` says so.
    pub fn ready(name: &'static str, ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { name, ready: Arc::new(ready), alive: Arc::new(|| true) }
    }

    /// Not alive when `alive` says so: the process is then restarted. Not for what depends on somebody else.
    #[must_use]
    pub fn alive(self, alive: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { alive: Arc::new(alive), ..self }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All checks of a process. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<Check>>>,
}

impl Health {
    /// Adds a check.
    pub fn add(&self, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Names of the parts that are not ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        self.failing(|check| (check.ready)())
    }

    /// Names of the parts that are not alive.
    pub fn not_alive(&self) -> Vec<&'static str> {
        self.failing(|check| (check.alive)())
    }

    fn failing(&self, holds: impl Fn(&Check) -> bool) -> Vec<&'static str> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        checks.iter().filter(|check| !holds(check)).map(|check| check.name).collect()
    }

    /// The parts and how each is.
    pub(super) fn parts(&self) -> Value {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let parts = checks.iter().map(|check| {
            let part = json!({"ready": (check.ready)(), "alive": (check.alive)()});
            (check.name.to_owned(), part)
        });
        Value::Object(parts.collect())
    }
}
