//! Transactions with krafka's transactional producer; but for the offsets, which it takes from members of a group only. Those are a
//! TxnOffsetCommit of our own under the same producer id, which the group's coordinator takes for a group that has no members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::future;
use krafka::{
    __private::{
        kafka_metadata,
        protocol::{
            AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ApiKey, FindCoordinatorRequest, FindCoordinatorResponse,
            TxnOffsetCommitPartition, TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitTopic,
        },
    },
    Record, Result as KrafkaResult,
    producer::TransactionalProducer,
};
use tokio::time::{Instant, sleep};

use super::{
    convert,
    link::Client,
    raw::{self, Versions},
};
use crate::{Action, AdminError, Api, CommittedOffset, LoggedRecord, TopicPartition, Transactor, transactor::Outgoing};

/// From v4 on one request asks for several keys; older brokers are asked for one.
const FIND: Versions = Versions { api: ApiKey::FindCoordinator, min: 1, max: 6 };
/// Up to v4 the transaction has to be told of the group; v5 tells it by itself (KIP-890), and only in transactions that do so all along.
const COMMIT: Versions = Versions { api: ApiKey::TxnOffsetCommit, min: 3, max: 4 };
const COMMIT_V2: Versions = Versions { api: ApiKey::TxnOffsetCommit, min: 5, max: 5 };
const ADD: Versions = Versions { api: ApiKey::AddOffsetsToTxn, min: 0, max: 4 };
/// Before a coordinator is asked again that moves, or still ends the transaction before.
const PAUSE: Duration = Duration::from_millis(100);
/// What nobody ends is ended by the broker after this long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Topics say what they take; this is no second limit.
const LARGEST: usize = 64 * 1024 * 1024;

pub(super) struct KrafkaTransactor {
    client: Arc<Client>,
    producer: TransactionalProducer,
    id: String,
    deadline: Duration,
}

impl KrafkaTransactor {
    /// Opens the producer, which fences the one before and waits until its transaction has ended.
    pub(super) async fn open(client: Arc<Client>, id: &str, deadline: Duration) -> KrafkaResult<Self> {
        let producer = client
            .kafka
            .producer()
            .transaction_timeout(TIMEOUT)
            .max_request_size(LARGEST)
            .build_transactional(id)
            .await?;
        Ok(Self { client, producer, id: id.to_owned(), deadline })
    }

    async fn transact(
        &self,
        records: Outgoing,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> KrafkaResult<()> {
        self.producer.begin()?;
        let written = async {
            let mut deliveries = Vec::with_capacity(records.len());
            for (key, record) in records {
                deliveries.push(self.producer.enqueue(outgoing(key, record)).await?);
            }
            for delivered in future::join_all(deliveries).await {
                drop(delivered?);
            }
            self.commit_offsets(group, offsets).await
        };
        if let Err(error) = written.await {
            // What cannot be aborted now is aborted by whoever opens the id next.
            let _ = self.producer.abort().await;
            return Err(error);
        }
        self.producer.commit().await
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> KrafkaResult<()> {
        let deadline = Instant::now() + self.deadline;
        loop {
            match self.try_commit_offsets(group, offsets, deadline).await {
                Err(error) if error.is_retriable() && Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
                done => return done,
            }
        }
    }

    async fn try_commit_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
        deadline: Instant,
    ) -> KrafkaResult<()> {
        let (producer, epoch) = (self.producer.producer_id(), self.producer.producer_epoch());
        let joins_by_itself = self.producer.transaction_version().is_v2();
        if !joins_by_itself {
            let coordinator = self.coordinator(&FindCoordinatorRequest::for_transaction(&self.id), deadline).await?;
            let add = AddOffsetsToTxnRequest::new(&self.id, producer, epoch, group);
            let added: AddOffsetsToTxnResponse = raw::exchange(&coordinator, ADD, &add, deadline).await?;
            raw::answer(added.error_code, None)?;
        }
        let coordinator = self.coordinator(&FindCoordinatorRequest::for_group(group), deadline).await?;
        let mut request = TxnOffsetCommitRequest::new(&self.id, group, producer, epoch);
        request.topics = topics(offsets);
        let versions = if joins_by_itself { COMMIT_V2 } else { COMMIT };
        let answer: TxnOffsetCommitResponse = raw::exchange(&coordinator, versions, &request, deadline).await?;
        let mut partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        partitions.try_for_each(|partition| raw::answer(partition.error_code, None))
    }

    async fn coordinator(
        &self,
        request: &FindCoordinatorRequest,
        deadline: Instant,
    ) -> KrafkaResult<Arc<krafka::__private::network::BrokerConnection>> {
        // Any broker knows.
        let any = raw::controller(&self.client.kafka, deadline).await?;
        let found: FindCoordinatorResponse = raw::exchange(&any, FIND, request, deadline).await?;
        raw::answer(found.error_code, found.error_message)?;
        kafka_metadata(&self.client.kafka).get_broker_connection(found.node_id).await
    }
}

#[async_trait]
impl Transactor for KrafkaTransactor {
    async fn write(
        &self,
        records: Outgoing,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), AdminError> {
        let written = self.transact(records, group, offsets).await;
        written.map_err(|error| convert::error(Action::new(Api::Transact, &self.id), error))
    }
}

fn outgoing(key: TopicPartition, record: LoggedRecord) -> Record {
    let mut outgoing = Record::new(key.topic, "").partition(key.partition);
    outgoing.key = record.key.map(Into::into);
    outgoing.value = record.value.map(Into::into);
    for (name, value) in record.headers {
        outgoing = match value {
            Some(value) => outgoing.header(name, value),
            None => outgoing.null_header(name),
        };
    }
    outgoing
}

fn topics(offsets: &BTreeMap<TopicPartition, CommittedOffset>) -> Vec<TxnOffsetCommitTopic> {
    let names: BTreeSet<&str> = offsets.keys().map(|key| key.topic.as_str()).collect();
    let of = |name: &str| TxnOffsetCommitTopic {
        name: name.to_owned(),
        partitions: offsets
            .iter()
            .filter(|(key, _)| key.topic == name)
            .map(|(key, commit)| TxnOffsetCommitPartition {
                partition: key.partition,
                committed_offset: commit.offset,
                committed_leader_epoch: -1,
                metadata: Some(commit.metadata.clone()),
            })
            .collect(),
    };
    names.into_iter().map(of).collect()
}
