//! Failures that are to come, and calls that were made.

use std::collections::{BTreeMap, VecDeque};

use super::Twin;
use crate::{Action, AdminError, Api, ErrorCode, WriteMode};

/// A failure to order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Kafka refuses.
    Refused(ErrorCode, String),
    /// No broker can be reached.
    Unreachable,
    /// No answer in time.
    Deadline,
    /// The password is not accepted.
    Authentication,
}

impl Fault {
    pub(super) fn error(&self, action: Action) -> AdminError {
        match self {
            Self::Refused(code, message) => AdminError::Refused { action, code: *code, message: message.clone() },
            Self::Unreachable => AdminError::Unreachable { action, message: "connection refused".to_owned() },
            Self::Deadline => AdminError::Deadline { action, message: "sent and not answered".to_owned() },
            Self::Authentication => AdminError::Authentication {
                action,
                code: ErrorCode::SASL_AUTHENTICATION_FAILED,
                message: "Authentication failed during authentication due to invalid credentials".to_owned(),
            },
        }
    }
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What.
    pub api: Api,
    /// For writes: whether it was to change anything.
    pub mode: WriteMode,
    /// Its items, in order.
    pub subjects: Vec<String>,
}

impl Call {
    /// Whether it changes the cluster.
    pub fn is_write(&self) -> bool {
        self.api.is_write() && self.mode == WriteMode::Apply
    }
}

/// What becomes of a call.
pub(super) enum Verdict {
    Answer,
    Fail(Fault),
    /// It is done, and the answer is lost.
    ApplyThenFail(Fault),
}

/// Failures to come and calls made.
#[derive(Default)]
pub(super) struct Faults {
    down: Option<Fault>,
    next: BTreeMap<Api, VecDeque<(Fault, bool)>>,
    items: BTreeMap<(Api, String), Fault>,
    calls: Vec<Call>,
}

impl Faults {
    pub(super) fn record(&mut self, api: Api, mode: WriteMode, subjects: Vec<String>) {
        self.calls.push(Call { api, mode, subjects });
    }

    pub(super) fn verdict(&mut self, api: Api) -> Verdict {
        if let Some(fault) = &self.down {
            return Verdict::Fail(fault.clone());
        }
        match self.next.get_mut(&api).and_then(VecDeque::pop_front) {
            None => Verdict::Answer,
            Some((fault, false)) => Verdict::Fail(fault),
            Some((fault, true)) => Verdict::ApplyThenFail(fault),
        }
    }

    pub(super) fn item_verdict(&self, api: Api, subject: &str) -> Option<Fault> {
        self.items.get(&(api, subject.to_owned())).cloned()
    }
}

impl Twin {
    /// The next call of this kind fails for all its items and changes nothing. Orders queue up.
    pub fn fail_next(&self, api: Api, fault: Fault) {
        self.state().faults.next.entry(api).or_default().push_back((fault, false));
    }

    /// The next call of this kind is carried out, and its answer is lost.
    pub fn lose_next_answer(&self, api: Api) {
        self.state().faults.next.entry(api).or_default().push_back((Fault::Deadline, true));
    }

    /// One item fails in every call of this kind, until [`Self::heal`].
    pub fn fail_item(&self, api: Api, subject: impl Into<String>, fault: Fault) {
        self.state().faults.items.insert((api, subject.into()), fault);
    }

    /// Every call fails, until [`Self::heal`].
    pub fn fail_all(&self, fault: Fault) {
        self.state().faults.down = Some(fault);
    }

    /// Takes back all failures that were ordered.
    pub fn heal(&self) {
        let faults = &mut self.state().faults;
        faults.down = None;
        faults.next.clear();
        faults.items.clear();
    }

    /// Calls made since the start or the last [`Self::forget_calls`].
    pub fn calls(&self) -> Vec<Call> {
        self.state().faults.calls.clone()
    }

    /// How many of them were of this kind.
    pub fn count(&self, api: Api) -> usize {
        self.state().faults.calls.iter().filter(|call| call.api == api).count()
    }

    /// How many of them were to change something.
    pub fn writes(&self) -> usize {
        self.state().faults.calls.iter().filter(|call| call.is_write()).count()
    }

    /// Starts counting anew.
    pub fn forget_calls(&self) {
        self.state().faults.calls.clear();
    }
}
