//! The store: one conformance suite for every implementation, and what only a disk can show.
//!
//! A case is an async function over `&dyn Store` that starts from an empty store and assumes no
//! absolute revision. [`conformance!`] makes a test of each case for each implementation.

mod harness;

mod leases;
mod limits;
mod ranges;
mod txns;
mod watches;

mod crash;
mod damage;
mod full;
mod model;
mod reopen;

/// A module of tests for one implementation: `factory` is an async function that gives an empty
/// store and what must live as long as it.
macro_rules! conformance {
    ($name:ident, $factory:path) => {
        mod $name {
            conformance! { @each $factory,
                txns: effects_are_visible_together_at_one_revision,
                txns: a_get_sees_the_puts_before_it,
                txns: a_get_over_a_prefix_sees_the_whole_draft,
                txns: a_key_may_change_only_once_in_a_branch,
                txns: the_same_key_in_both_branches_is_fine,
                txns: without_effect_no_revision_is_used,
                txns: a_put_of_an_equal_value_is_an_effect,
                txns: a_delete_says_whether_there_was_a_key,
                txns: version_starts_again_after_a_delete,
                txns: a_create_revision_fences,
                txns: conditions_on_absent_keys,
                txns: one_false_condition_is_enough,
                txns: of_concurrent_creators_one_wins,
                txns: concurrent_increments_are_not_lost,
                ranges: keys_come_in_order_within_the_span,
                ranges: pages_cover_everything_once,
                ranges: the_past_can_be_read,
                ranges: the_future_cannot_be_read,
                ranges: a_compacted_past_is_refused,
                ranges: compaction_keeps_what_lives,
                ranges: compaction_of_the_future_is_refused,
                ranges: a_cached_read_is_never_older_than_asked,
                ranges: a_linearizable_read_sees_acknowledged_writes,
                watches: one_batch_for_each_revision_in_order,
                watches: history_then_news_without_gap_or_duplicate,
                watches: only_the_prefix,
                watches: a_delete_carries_key_revision_and_previous_value,
                watches: the_future_starts_exactly_there,
                watches: a_compacted_start_is_refused,
                watches: revision_zero_is_refused,
                watches: a_slow_watcher_lags_and_resumes,
                watches: a_dropped_watcher_is_forgotten,
                watches: history_is_bounded,
                leases: revoke_deletes_all_keys_in_one_revision,
                leases: expiry_deletes_all_keys_in_one_revision,
                leases: a_keepalive_prolongs,
                leases: a_put_without_the_lease_detaches,
                leases: an_unknown_lease_is_refused,
                leases: a_ttl_is_at_least_the_minimum,
                leases: ids_are_never_used_twice,
                leases: a_lease_without_keys_uses_no_revision,
                limits: largest_key_and_value_are_accepted,
                limits: over_the_limit_is_refused,
                limits: an_empty_key_is_refused,
                limits: a_refused_transaction_changes_nothing,
            }
        }
    };
    (@each $factory:path, $($module:ident: $case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _keep) = $factory().await;
                super::$module::$case(&store).await;
            }
        )+
    };
}

conformance!(memory, super::harness::memory);
conformance!(sqlite, super::harness::sqlite);
