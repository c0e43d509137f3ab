//! One call under way: the connections that it goes over, until when, and who counts its requests.

use std::sync::Arc;

use krafka::{
    __private::{
        kafka_metadata,
        metadata::ClusterMetadata,
        network::BrokerConnection,
        protocol::{VersionedDecode, VersionedEncode},
    },
    KrafkaError, Result as KrafkaResult,
    error::ErrorCode,
};
use tokio::time::{Instant, timeout_at};

use super::{
    link::Client,
    raw::{self, Versions},
};
use crate::Tally;

/// A call under way.
pub(super) struct Call {
    pub(super) client: Arc<Client>,
    pub(super) tally: Tally,
    pub(super) deadline: Instant,
}

/// A broker that is connected to.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) id: i32,
    connection: Arc<BrokerConnection>,
}

impl Call {
    fn metadata(&self) -> &ClusterMetadata {
        kafka_metadata(&self.client.kafka)
    }

    /// Connects to a broker, unless that is done.
    pub(super) async fn broker(&self, id: i32) -> KrafkaResult<Broker> {
        let connection = timeout_at(self.deadline, self.metadata().get_broker_connection(id))
            .await
            .unwrap_or_else(|_| Err(KrafkaError::timeout(format!("connecting to broker {id}"))))?;
        Ok(Broker { id, connection })
    }

    /// Sends one request to a broker and reads its response.
    pub(super) async fn exchange<Response: VersionedDecode>(
        &self,
        broker: &Broker,
        versions: Versions,
        request: &impl VersionedEncode,
    ) -> KrafkaResult<Response> {
        self.tally.sent(Some(broker.id));
        raw::exchange(&broker.connection, versions, request, self.deadline).await
    }

    /// Sends one request to the first broker that answers, of those that are known.
    pub(super) async fn exchange_with_any<Response: VersionedDecode>(
        &self,
        versions: Versions,
        request: &impl VersionedEncode,
    ) -> KrafkaResult<Response> {
        if self.metadata().brokers().is_empty() {
            self.refresh(&[]).await?;
        }
        let mut brokers: Vec<i32> = self.metadata().brokers().iter().map(|broker| broker.id()).collect();
        brokers.sort_unstable();
        let mut last = KrafkaError::broker(ErrorCode::BrokerNotAvailable, "the cluster reports no brokers");
        for id in brokers {
            let answer = match self.broker(id).await {
                Ok(broker) => self.exchange(&broker, versions, request).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(error) if is_of_the_way(&error) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Reads again who leads the partitions of topics, and which brokers there are.
    pub(super) async fn refresh(&self, topics: &[&str]) -> KrafkaResult<()> {
        self.tally.sent(None);
        timeout_at(self.deadline, self.metadata().force_refresh(Some(topics)))
            .await
            .unwrap_or_else(|_| Err(KrafkaError::timeout("reading the leaders of partitions")))
    }
}

/// Whether the broker was not reached, or went before it answered: another may be asked.
pub(super) fn is_of_the_way(error: &KrafkaError) -> bool {
    matches!(error, KrafkaError::Network(_) | KrafkaError::Closed { .. } | KrafkaError::Timeout { .. })
}
