//! Requests that krafka's admin client cannot make, over krafka's own connections.
//!
//! It deletes topics by name only, drops the id of a created topic, and holds a whole offset lookup back, retrying until the
//! deadline, for one partition without a leader or without a record of the wanted time. Its protocol layer has the messages, or those of the
//! kafka-protocol crate go over its connections ([`Wire`]); only the hidden `__private` module reaches them, which is why the version is pinned exactly and the contract suite covers each of these.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use krafka::{
    __private::{
        kafka_metadata, kafka_pool,
        network::BrokerConnection,
        protocol::{ApiKey, VersionedDecode, VersionedEncode},
    },
    Kafka, KrafkaError, ProtocolErrorKind, Result as KrafkaResult,
    error::ErrorCode,
};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between attempts to reach a controller.
const PAUSE: Duration = Duration::from_millis(100);

/// An API and the versions of it that will do.
#[derive(Clone, Copy)]
pub(super) struct Versions {
    pub(super) api: ApiKey,
    pub(super) min: i16,
    pub(super) max: i16,
}

/// A connection to where controller requests go. Nothing has been sent when this fails.
pub(super) async fn controller(kafka: &Kafka, deadline: Instant) -> KrafkaResult<Arc<BrokerConnection>> {
    let metadata = kafka_metadata(kafka);
    loop {
        let attempt = async {
            if metadata.controller().is_none() {
                metadata.force_refresh(Some(&[])).await?;
            }
            let broker = metadata.controller().ok_or_else(|| {
                KrafkaError::broker(ErrorCode::NotController, "the cluster reports no active controller")
            })?;
            kafka_pool(kafka).get_connection_by_id(broker.id(), broker.address()).await
        };
        match timeout_at(deadline, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if error.is_retriable() && Instant::now() + PAUSE < deadline => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(KrafkaError::timeout("connecting to the controller")),
        }
        sleep(PAUSE).await;
        // The broker that was asked may be gone: learn who is there now. A failure shows in the next attempt.
        let _ = timeout_at(deadline, metadata.force_refresh(Some(&[]))).await;
    }
}

/// A partition by topic name and index.
type Named<'a> = (&'a str, i32);

/// Who leads a partition, by the metadata at hand.
pub(super) fn leader(kafka: &Kafka, (topic, partition): Named<'_>) -> KrafkaResult<i32> {
    let metadata = kafka_metadata(kafka);
    match metadata.topic_arc(topic) {
        None => {
            let code = metadata.topic_error(topic).unwrap_or(ErrorCode::UnknownTopicOrPartition);
            Err(KrafkaError::broker(code, format!("{code:?}")))
        }
        Some(known) if known.partition(partition).is_none() => {
            Err(KrafkaError::broker(ErrorCode::UnknownTopicOrPartition, "the topic has no such partition"))
        }
        Some(known) => known.leader(partition).ok_or_else(|| {
            KrafkaError::broker(ErrorCode::LeaderNotAvailable, "the partition has no leader at the moment")
        }),
    }
}

/// A message of the kafka-protocol crate, to be exchanged over a connection of krafka's: for what krafka says wrongly, or not at all.
pub(super) struct Wire<T>(pub(super) T);

impl<T: Encodable> VersionedEncode for Wire<T> {
    fn encode_versioned(&self, version: i16, buffer: &mut impl BufMut) -> KrafkaResult<()> {
        let mut message = BytesMut::new();
        self.0.encode(&mut message, version).map_err(|error| malformed(&error))?;
        buffer.put(message);
        Ok(())
    }
}

impl<T: Decodable> VersionedDecode for Wire<T> {
    fn decode_versioned(version: i16, buffer: &mut impl Buf) -> KrafkaResult<Self> {
        let mut message = buffer.copy_to_bytes(buffer.remaining());
        T::decode(&mut message, version).map(Self).map_err(|error| malformed(&error))
    }
}

fn malformed(error: &impl std::fmt::Display) -> KrafkaError {
    KrafkaError::protocol_kind(ProtocolErrorKind::Malformed, error.to_string())
}

/// Sends one request and reads its response.
pub(super) async fn exchange<Response: VersionedDecode>(
    connection: &BrokerConnection,
    versions: Versions,
    request: &impl VersionedEncode,
    deadline: Instant,
) -> KrafkaResult<Response> {
    let Versions { api, min, max } = versions;
    let version = connection.negotiate_api_version(api, max, min).ok_or_else(|| {
        KrafkaError::protocol_kind(
            ProtocolErrorKind::UnknownApiVersion,
            format!("broker {} has no {api:?} between v{min} and v{max}", connection.address()),
        )
    })?;
    let response = connection.send_request(api, version, |buffer| request.encode_versioned(version, buffer));
    let mut response = timeout_at(deadline, response)
        .await
        .unwrap_or_else(|_| Err(KrafkaError::timeout(format!("{api:?} sent and not answered"))))?;
    Response::decode_versioned(version, &mut response)
}

/// An item's error code as a result.
pub(super) fn answer(code: ErrorCode, message: Option<String>) -> KrafkaResult<()> {
    if code.is_ok() { Ok(()) } else { Err(KrafkaError::broker(code, message.unwrap_or_else(|| format!("{code:?}")))) }
}

/// Time left, as requests carry it for the broker.
pub(super) fn remaining_ms(deadline: Instant) -> i32 {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
    i32::try_from(left).unwrap_or(i32::MAX)
}
