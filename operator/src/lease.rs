//! One leader by a Lease (coordination.k8s.io), as client-go's leader election does it: whoever holds it renews it, whoever
//! wants it waits until it has stood still for its whole duration, by its own clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};

/// A lease that has not been renewed for this long is free.
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up when it could not renew for this long: well before anybody else may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between attempts, to take it or to renew it.
const PERIOD: Duration = Duration::from_secs(2);
/// Bound on one request.
const REQUEST: Duration = Duration::from_secs(4);

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There is none: make it.
    Create,
    /// It is ours already, or free: write our name into it.
    Take,
    /// Somebody holds it.
    Wait,
}

/// What was last seen of somebody else's lease, and since when it has not changed.
#[derive(Clone, Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

impl Seen {
    /// For how long the lease has stood still.
    fn still(&mut self, lease: &Lease, now: Instant) -> Duration {
        if self.since.is_none() || self.version != lease.metadata.resource_version {
            *self = Self { version: lease.metadata.resource_version.clone(), since: Some(now) };
        }
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

fn judge(lease: Option<&Lease>, me: &str, seen: &mut Seen, now: Instant) -> Verdict {
    let Some(lease) = lease else { return Verdict::Create };
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    if holder == me || holder.is_empty() || seen.still(lease, now) >= duration { Verdict::Take } else { Verdict::Wait }
}

/// Takes part in the election.
#[derive(Clone)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    me: String,
}

impl Elector {
    /// The lease `name` of `namespace`, for a process called `me`.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), me: me.to_owned() }
    }

    /// Waits until this process leads. `reached` is called whenever the API server answered.
    pub async fn acquire(&self, reached: impl Fn()) {
        let mut seen = Seen::default();
        loop {
            match tokio::time::timeout(REQUEST, self.attempt(&mut seen)).await {
                Ok(Ok(leads)) => {
                    reached();
                    if leads {
                        return;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "the lease could not be taken"),
                Err(_) => tracing::warn!(lease = self.name, "the API server did not answer about the lease in time"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews the lease; returns when this process no longer leads.
    pub async fn hold(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            let started = Instant::now();
            // What was seen before counts for nothing: a lease that is not ours any more is lost.
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left.min(REQUEST), self.attempt(&mut Seen::default())).await {
                Ok(Ok(true)) => renewed = started,
                Ok(Ok(false)) => {
                    tracing::warn!(lease = self.name, "somebody else holds the lease");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "the lease could not be renewed"),
                Err(_) => tracing::warn!(lease = self.name, "the API server did not answer about the lease in time"),
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                tracing::warn!(lease = self.name, "the lease could not be renewed in time");
                return;
            }
        }
    }

    /// Frees the lease, so that somebody else need not wait for it to run out.
    pub async fn release(&self) {
        let free = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.me))
            else {
                return Ok(());
            };
            spec.holder_identity = Some(String::new());
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        match tokio::time::timeout(REQUEST, free).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "the lease was not released"),
            Err(_) => tracing::warn!(lease = self.name, "the lease was not released in time"),
        }
    }

    /// Whether this process leads after this attempt.
    async fn attempt(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let present = self.api.get_opt(&self.name).await?;
        let now = MicroTime(Timestamp::now());
        let written = match (judge(present.as_ref(), &self.me, seen, Instant::now()), present) {
            (Verdict::Wait, _) => return Ok(false),
            (Verdict::Take, Some(mut lease)) => {
                let spec = lease.spec.get_or_insert_default();
                if spec.holder_identity.as_deref() != Some(&self.me) {
                    spec.acquire_time = Some(now.clone());
                    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
                }
                spec.holder_identity = Some(self.me.clone());
                spec.lease_duration_seconds = Some(DURATION.as_secs() as i32);
                spec.renew_time = Some(now);
                // With the version that was read: of two who try, one is refused.
                self.api.replace(&self.name, &PostParams::default(), &lease).await
            }
            (Verdict::Create | Verdict::Take, _) => {
                let lease = Lease {
                    metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                    spec: Some(LeaseSpec {
                        acquire_time: Some(now.clone()),
                        holder_identity: Some(self.me.clone()),
                        lease_duration_seconds: Some(DURATION.as_secs() as i32),
                        renew_time: Some(now),
                        ..LeaseSpec::default()
                    }),
                };
                self.api.create(&PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn who_may_take_a_lease() {
        let now = Instant::now();
        for (present, verdict) in [
            (None, Verdict::Create),
            (Some(lease("me", "1")), Verdict::Take),
            (Some(lease("", "1")), Verdict::Take),
            (Some(lease("you", "1")), Verdict::Wait),
        ] {
            assert_eq!(judge(present.as_ref(), "me", &mut Seen::default(), now), verdict, "{present:?}");
        }
    }

    #[test]
    fn a_lease_that_stood_still_for_its_duration_is_free_and_one_that_moved_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut seen = Seen::default();
        assert_eq!(judge(Some(&lease("you", "1")), "me", &mut seen, at(0)), Verdict::Wait);
        assert_eq!(judge(Some(&lease("you", "2")), "me", &mut seen, at(14)), Verdict::Wait);
        assert_eq!(judge(Some(&lease("you", "2")), "me", &mut seen, at(28)), Verdict::Wait);
        assert_eq!(judge(Some(&lease("you", "2")), "me", &mut seen, at(29)), Verdict::Take);
    }
}
