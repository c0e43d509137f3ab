//! The end-to-end stories, on the cluster of hack/up: `hack/test e2e`. Each module tells one or two; the world is what they
//! share. They run one at a time, because some break a broker or the operator on purpose.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a step of a story that does not work ends the story")]

mod alerts;
mod broker_loss;
mod containers;
mod dead_letters;
mod faults;
mod growth;
mod helm;
mod lag;
mod managed_users;
mod operator_loss;
mod pipelines;
mod pipelines_refused;
mod projector_loss;
mod redrive;
mod replay;
mod retries;
mod scaling;
mod topics;
mod topics_refused;
mod wallet_path;
mod world;
