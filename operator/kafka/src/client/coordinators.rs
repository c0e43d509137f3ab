//! Asks coordinators about groups, many in a request. Who coordinates which group is looked up for all of them together (KIP-699), and
//! remembered until somebody says that it is so no more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future;
use kafka_protocol::{
    messages::{FindCoordinatorRequest, FindCoordinatorResponse},
    protocol::StrBytes,
};
use krafka::{__private::protocol::ApiKey, KrafkaError, Result as KrafkaResult, error::ErrorCode};

use super::{
    call::{Broker, Call, is_of_the_way},
    convert,
    raw::{self, Versions, Wire},
};

/// v4 is the first that takes several keys.
const FIND_COORDINATOR: Versions = Versions { api: ApiKey::FindCoordinator, min: 4, max: 6 };
/// The keys are groups.
const OF_GROUPS: i8 = 0;

/// Outcomes of groups.
pub(super) type Answers<V> = HashMap<String, KrafkaResult<V>>;

/// Coordinators by group.
#[derive(Default)]
pub(super) struct Coordinators(Mutex<HashMap<String, i32>>);

impl Coordinators {
    fn known(&self) -> MutexGuard<'_, HashMap<String, i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes one request of each coordinator, about its groups. What has moved meanwhile is asked for once more.
pub(super) async fn ask<V, F, Fut>(call: &Call, ids: Vec<String>, request: F) -> Answers<V>
where
    F: Fn(Broker, Vec<String>) -> Fut,
    Fut: Future<Output = Answers<V>>,
{
    let mut answers = Answers::new();
    let mut asked = ids;
    for last in [false, true] {
        let (routed, failed) = route(call, asked).await;
        let batches = future::join_all(routed.into_iter().map(|(broker, ids)| request(broker, ids))).await;
        asked = Vec::new();
        for (id, answer) in batches.into_iter().flatten().chain(failed) {
            if answer.as_ref().is_err_and(has_moved) {
                call.client.coordinators.known().remove(&id);
                asked.push(id.clone());
            }
            answers.insert(id, answer);
        }
        if last || asked.is_empty() {
            break;
        }
    }
    answers
}

/// Groups by the broker that coordinates them, and those for which none was found or reached.
async fn route<V>(call: &Call, ids: Vec<String>) -> (Vec<(Broker, Vec<String>)>, Vec<(String, KrafkaResult<V>)>) {
    let coordinators = &call.client.coordinators;
    let unknown: Vec<&String> = {
        let known = coordinators.known();
        ids.iter().filter(|id| !known.contains_key(*id)).collect()
    };
    let mut failed: Vec<(String, KrafkaResult<V>)> = Vec::new();
    if !unknown.is_empty() {
        for (id, found) in find(call, &unknown).await {
            match found {
                Ok(broker) => {
                    coordinators.known().insert(id, broker);
                }
                Err(error) => failed.push((id, Err(error))),
            }
        }
    }
    let mut by_broker: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for id in ids {
        let broker = coordinators.known().get(&id).copied();
        if let Some(broker) = broker {
            by_broker.entry(broker).or_default().push(id);
        }
    }
    let connections = by_broker.into_iter().map(|(broker, ids)| async move { (call.broker(broker).await, ids) });
    let mut routed = Vec::new();
    for (broker, ids) in future::join_all(connections).await {
        match broker {
            Ok(broker) => routed.push((broker, ids)),
            Err(error) => failed.extend(ids.into_iter().map(|id| (id, Err(error.clone())))),
        }
    }
    (routed, failed)
}

async fn find(call: &Call, ids: &[&String]) -> Answers<i32> {
    let keys = ids.iter().map(|id| StrBytes::from_string((*id).clone())).collect();
    let request = FindCoordinatorRequest::default().with_key_type(OF_GROUPS).with_coordinator_keys(keys);
    let response: KrafkaResult<Wire<FindCoordinatorResponse>> =
        call.exchange_with_any(FIND_COORDINATOR, &Wire(request)).await;
    let Wire(response) = match response {
        Ok(response) => response,
        Err(error) => return ids.iter().map(|id| ((*id).clone(), Err(error.clone()))).collect(),
    };
    let mut found: Answers<i32> = ids.iter().map(|id| ((*id).clone(), Err(convert::missing()))).collect();
    for coordinator in response.coordinators {
        let message = coordinator.error_message.map(|message| message.to_string());
        let answer = raw::answer(ErrorCode::from_i16(coordinator.error_code), message);
        found.insert(coordinator.key.to_string(), answer.map(|()| coordinator.node_id.0));
    }
    found
}

/// Whether another broker may coordinate the group by now.
fn has_moved(error: &KrafkaError) -> bool {
    let denied = matches!(
        error,
        KrafkaError::Broker { code: ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable, .. }
    );
    denied || is_of_the_way(error)
}
