//! Writers of transactions: of several of one id the last.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    Refusal, Twin,
    state::{State, StoredGroup},
};
use crate::{
    Action, AdminError, Api, CommittedOffset, ErrorCode, GroupKind, TopicPartition, Transactor, WriteMode,
    transactor::Outgoing,
};

struct TwinTransactor {
    twin: Twin,
    id: String,
    epoch: u32,
}

impl Twin {
    pub(super) fn open_transactor(&self, id: &str) -> Result<Box<dyn Transactor>, AdminError> {
        let opened = self.each(Api::Transact, WriteMode::ValidateOnly, [id.to_owned()], |state, id| {
            let epoch = state.transactors.entry(id.clone()).or_default();
            *epoch += 1;
            Ok(*epoch)
        });
        let epoch = opened.into_values().next().unwrap_or(Ok(0))?;
        Ok(Box::new(TwinTransactor { twin: self.clone(), id: id.to_owned(), epoch }))
    }
}

impl State {
    fn transact(
        &mut self,
        records: &Outgoing,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), Refusal> {
        for key in records.iter().map(|(key, _)| key).chain(offsets.keys()) {
            self.partition(key)?;
        }
        for (key, record) in records {
            self.partition(key)?.log.append(record.clone());
        }
        let mut touched: Vec<_> = records.iter().map(|(key, _)| key).collect();
        touched.sort_unstable();
        touched.dedup();
        for key in touched {
            let log = &mut self.partition(key)?.log;
            log.gone.insert(log.end());
            log.times.push(0);
        }
        let group = self.groups.entry(group.to_owned()).or_insert_with(|| StoredGroup::new(GroupKind::Classic));
        group.committed.extend(offsets.clone());
        Ok(())
    }
}

#[async_trait]
impl Transactor for TwinTransactor {
    async fn write(
        &self,
        records: Outgoing,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), AdminError> {
        let written = self.twin.each(Api::Transact, WriteMode::Apply, [self.id.clone()], |state, id| {
            if state.transactors.get(id) != Some(&self.epoch) {
                return Err((ErrorCode::INVALID_PRODUCER_EPOCH, "InvalidProducerEpoch".to_owned()));
            }
            state.transact(&records, group, offsets)
        });
        let action = Action::new(Api::Transact, &self.id);
        let lost = AdminError::Unexpected { action, message: "no outcome".to_owned() };
        written.into_values().next().unwrap_or(Err(lost))
    }
}
