//! The checks that wrong stores are given to, and those that need another treatment.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::Capability;

/// The check that writes 100 000 keys: only for the faults that are about that many, since it takes longer than all others.
pub(crate) const BIG: &str = "b6_a_hundred_thousand_keys_in_one_call_work";

/// The checks with random input and with threads, the quickest first. They take longer than all others together. A wrong store is given
/// to them, until one rejects it, if the others find nothing; to all checks where `MUTANTS_ALL` is set.
pub(crate) const SLOW: &[&str] = &[
    "p1_threads_on_keys_of_their_own_do_not_disturb_each_other",
    "p4_of_many_creators_over_an_expired_entry_one_wins",
    "p4_creates_and_deletes_of_one_key_take_turns",
    "p4_of_many_creators_one_wins",
    "d1_of_many_deleters_one_removes_the_entry",
    "u1_of_many_updates_with_one_version_one_succeeds",
    "u1_of_many_that_create_a_version_one_wins",
    "u4_of_many_takers_one_gets_the_value",
    "u5_no_increment_is_lost",
    "u1_a_lock_that_is_released_by_version_has_one_holder",
    "u1_no_update_is_lost",
    "t6_a_get_and_touch_does_not_undo_a_write",
    "p3_a_reader_sees_the_old_or_the_new_value_whole",
    "t5_reading_an_expired_entry_does_not_remove_a_new_one",
    "t5_of_creators_at_expiry_one_wins",
    "t5_a_touch_at_expiry_answers_truthfully",
    "u5_a_counter_that_expires_between_increments_expires_again",
    "b2_batches_in_opposite_orders_do_not_wait_for_each_other",
    "c2_renames_in_opposite_directions_do_not_wait_for_each_other",
    "l1_a_listing_beside_others_has_what_was_written_before_it",
    "l1_keys_that_stay_are_listed_once_while_others_come_and_go",
    "k4_random_prefixes_of_random_keys_match_literally",
    "p1_creates_minus_deletes_are_what_is_left",
    "p1_random_operations_do_what_a_plain_map_does",
    "v1_random_values_come_back_whatever_the_way_in",
    "p1_no_increment_under_a_lock_is_lost",
    "t6_a_touch_does_not_undo_a_write",
    "v1_values_of_every_size_come_back",
    "p1_histories_of_create_and_delete_are_linearizable",
    "u1_histories_of_conditional_updates_are_linearizable",
    "u5_histories_of_increments_are_linearizable",
    "p2_histories_of_long_values_and_ttls_are_linearizable",
    "p1_histories_of_random_operations_are_linearizable",
];

/// Checks that no wrong store can prove, and why.
pub(crate) const OF_NO_BACKEND: &[(&str, &str)] = &[
    ("k2_an_invalid_key_is_refused_by_every_operation", "kv-core refuses it before a backend is asked"),
    ("b5_an_invalid_key_in_the_middle_changes_nothing", "kv-core refuses it before a backend is asked"),
    ("b4_an_empty_batch_gives_an_empty_result", "kv-core answers it before a backend is asked"),
    ("l6_an_invalid_delimiter_is_refused", "kv-core refuses it before a backend is asked"),
    ("a1_nothing_is_done_before_the_first_poll", OF_ASYNC),
    ("a1_a_dropped_future_disturbs_nobody", OF_ASYNC),
    ("a1_a_future_that_is_not_polled_holds_up_nobody", OF_ASYNC),
    ("a4_a_store_whose_runtime_has_ended_answers", OF_ASYNC),
    ("a4_a_thread_without_a_runtime_gets_an_answer", OF_ASYNC),
    (
        RUNTIMES,
        "the wrong stores in `runtimes` prove it, with the feature `tokio`: those of other faults have no runtimes",
    ),
    ("v2_a_buffer_that_changes_after_the_write_changes_nothing", "safe Rust cannot keep a buffer that it has borrowed"),
];

const OF_ASYNC: &str =
    "the wrong stores in `asynchronous` prove it, with the feature `tokio`: the others have no futures";

/// Whether a check is about stores with futures.
pub(crate) fn is_of_async(check: &str) -> bool {
    check.starts_with('a') && check.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// The check that is ignored without the feature `tokio`.
pub(crate) const RUNTIMES: &str = "e4_a_store_works_inside_an_async_runtime";

/// The names of the checks, those of these opt-outs among them.
pub(crate) fn names(opt_outs: &[Capability]) -> Vec<String> {
    let nothing = || Err::<Fixture, BoxError>("only the names are of interest".into());
    let suite = opt_outs.iter().fold(Suite::new("names", nothing), |suite, of| suite.opt_out(*of, "only for its name"));
    let of_faults = checks_of_faults();
    suite.check_names().into_iter().filter(|name| !of_faults.contains(name)).collect()
}

/// The checks of faults, which need a store behind a network: the test `network` proves those.
pub(crate) fn checks_of_faults() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let nothing = || Err::<Fixture, BoxError>("only the names are of interest".into());
        let results = Suite::new("names", nothing).run().results.into_iter();
        let of_faults =
            |verdict: &Verdict| matches!(verdict, Verdict::Ignored(reason) if reason.contains("with_faults"));
        let ignored = results.filter(|result| of_faults(&result.verdict));
        ignored.map(|result| result.name).collect()
    })
}
