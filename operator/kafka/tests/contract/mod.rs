//! What `KafkaAdmin` promises, told as stories that hold for a real cluster and for the twin alike.
//!
//! A story gets a [`World`]: the admin under test, and the hands of others (producers, consumers) that the trait has no
//! calls for. Each story has its own names, so that all can run at once, and leaves nothing behind.

pub mod access;
pub mod configs;
pub mod groups;
pub mod offsets;
pub mod topics;
pub mod world;
pub mod written;

pub use world::{World, run, unique_prefix};

/// Makes a test of each story, in a world made by `$world` (an async fn that returns a `World`).
macro_rules! contract {
    ($world:path) => {
        contract! { @each $world;
            topics::a_cluster_has_an_id_and_live_brokers,
            topics::a_created_topic_is_described_as_it_was_asked_for,
            topics::validating_a_new_topic_creates_nothing,
            topics::the_bad_topics_of_a_batch_are_refused_by_name_and_the_good_one_is_created,
            topics::a_topic_given_twice_is_refused,
            topics::a_name_that_differs_in_a_dot_and_an_underscore_collides,
            topics::partitions_grow_and_never_shrink,
            topics::deleting_by_id_spares_a_recreated_namesake,
            topics::more_topics_than_fit_one_request_are_all_answered,
            topics::a_topic_that_does_not_exist_is_unknown_to_every_call,
            topics::asking_for_nothing_answers_nothing,
            configs::a_value_that_is_set_reads_back_and_resets_to_what_it_was,
            configs::a_change_with_one_bad_key_changes_nothing,
            configs::validating_a_change_changes_nothing,
            configs::a_key_that_is_set_and_reset_at_once_is_refused,
            configs::changes_of_a_batch_fail_one_by_one,
            offsets::an_empty_partition_begins_and_ends_at_zero,
            offsets::records_are_found_by_their_time,
            offsets::an_open_transaction_holds_the_last_stable_offset_back,
            offsets::markers_of_transactions_are_nothing_to_read,
            offsets::the_first_record_that_can_be_read_is_told_with_its_time,
            offsets::a_topic_made_anew_is_found_where_it_is_now,
            offsets::a_partition_that_does_not_exist_is_unknown_to_every_kind_of_lookup,
            groups::a_group_that_does_not_exist_is_not_found_and_has_committed_nothing,
            groups::a_commit_at_zero_is_not_the_same_as_none,
            groups::many_groups_are_asked_at_once_and_each_hears_its_own,
            groups::members_of_a_classic_group_show_what_they_own,
            groups::members_of_a_kip_848_group_show_what_they_own,
            groups::commits_for_a_deleted_topic_disappear,
            access::a_user_logs_in_with_its_latest_password_until_it_is_deleted,
            access::users_of_a_batch_fail_one_by_one,
            access::an_acl_of_every_kind_reads_back_as_it_was_created,
            access::deleting_takes_what_the_filter_says_and_nothing_else,
            access::a_name_is_meant_literally_or_as_a_beginning,
            access::acls_of_a_batch_are_refused_one_by_one,
            written::offsets_are_set_and_forgotten_for_a_group_without_members,
            written::a_classic_group_with_members_keeps_its_offsets,
            written::a_kip_848_group_with_members_keeps_its_offsets,
            written::records_are_read_with_all_that_they_carry,
            written::records_of_an_open_transaction_are_read_when_it_has_committed,
            written::records_and_offsets_of_a_transaction_come_together_and_only_from_the_last_writer,
        }
    };
    (@each $world:path; $($module:ident::$story:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $story() {
                contract::run($world().await, |world| Box::pin(contract::$module::$story(world))).await;
            }
        )+
    };
}
pub(crate) use contract;
