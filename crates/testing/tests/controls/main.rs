//! The suite's controls: each planted fault is caught, so the scenarios can fail.

#![allow(clippy::expect_used, reason = "a test's fault")]

mod faulty;

use std::{future::Future, panic::catch_unwind};

use annals_testing::conformance::{self, Subject};
use faulty::{
    ACKNOWLEDGES_TOO_MUCH, CHECKS_BEFORE_IT_WRITES, FORGETS_APPENDS, FaultyFixture,
    IGNORES_CONDITIONS, IGNORES_EXPECTATIONS, IGNORES_FENCES, IMPORTS_EVENT_BY_EVENT,
    INSTALLS_NOTHING_INLINE, KEEPS_MILLISECONDS, KEEPS_TEXT_ONLY, LEASES_TO_EVERYBODY,
    MIXES_BOTH_TABLES, NO_FAULT, RESUMES_NO_REBUILD, SHOWS_COMMITS_LATE, STOPS_A_PAGE_EARLY,
    SWAPS_IN_TWO_STEPS, WRITES_ROWS_BEFORE_CHECKPOINTS, WRITES_STREAM_BY_STREAM,
};

/// Asserts that the store passes the scenario without the fault and fails it with the fault.
fn assert_caught<const FAULT: u8, S: Future<Output = ()>>(scenario: fn(Subject) -> S) {
    conformance::run::<FaultyFixture<NO_FAULT>, _>(scenario);
    let outcome = catch_unwind(|| conformance::run::<FaultyFixture<FAULT>, _>(scenario));
    assert!(outcome.is_err(), "the fault went unnoticed");
}

macro_rules! controls {
    ($($name:ident: $fault:ident, by $($subject:ident::$scenario:ident),+;)+) => {
        $(#[test]
        fn $name() {
            $(assert_caught::<$fault, _>(conformance::$subject::$scenario);)+
        })+
    };
}

controls! {
    a_store_that_ignores_expectations_is_caught: IGNORES_EXPECTATIONS, by
        append::a_stream_with_events_meets_the_expectations_it_should,
        races::of_writers_that_expect_the_same_version_exactly_one_wins,
        properties::random_operations_answer_as_the_model_does;
    a_store_that_ignores_conditions_is_caught: IGNORES_CONDITIONS, by
        conditions::a_condition_sees_what_was_appended_before,
        conditions::of_racing_appends_under_one_condition_exactly_one_wins,
        properties::random_operations_answer_as_the_model_does;
    a_store_that_checks_conditions_before_it_locks_is_caught: CHECKS_BEFORE_IT_WRITES, by
        conditions::of_racing_appends_under_one_condition_exactly_one_wins;
    a_store_that_forgets_appends_is_caught: FORGETS_APPENDS, by
        idempotency::an_append_repeated_as_it_is_answers_as_the_first_time,
        idempotency::the_same_append_ten_times_at_once_is_written_once,
        transfer::a_repeated_append_answers_as_the_first_time_after_a_move,
        properties::random_operations_answer_as_the_model_does;
    a_store_that_writes_stream_by_stream_is_caught: WRITES_STREAM_BY_STREAM, by
        append::a_conflict_on_one_stream_leaves_nothing_on_the_others,
        races::overlapping_appends_over_several_streams_never_mix,
        cancellation::a_cancelled_append_is_there_wholly_or_not_at_all;
    a_store_that_keeps_text_only_is_caught: KEEPS_TEXT_ONLY, by
        bytes::whatever_is_appended_comes_back_as_it_was,
        bytes::payloads_that_are_no_text_or_no_json_come_back,
        transfer::an_imported_log_comes_back_as_it_was;
    a_store_that_keeps_milliseconds_is_caught: KEEPS_MILLISECONDS, by
        transfer::an_import_keeps_microseconds_of_any_year,
        bytes::whatever_is_appended_comes_back_as_it_was,
        properties::random_operations_answer_as_the_model_does;
    a_store_that_shows_commits_late_is_caught: SHOWS_COMMITS_LATE, by
        tail::a_reader_sees_the_log_in_order_and_a_naive_one_is_caught;
    a_store_that_ends_a_page_too_early_is_caught: STOPS_A_PAGE_EARLY, by
        paging::pages_of_every_size_join_to_the_whole,
        paging::a_full_page_does_not_skip_what_it_did_not_answer,
        properties::random_operations_answer_as_the_model_does;
    a_store_that_acknowledges_too_much_is_caught: ACKNOWLEDGES_TOO_MUCH, by
        cancellation::a_cancelled_append_is_there_wholly_or_not_at_all,
        tail::a_reader_sees_the_log_in_order_and_a_naive_one_is_caught;
    a_store_that_imports_event_by_event_is_caught: IMPORTS_EVENT_BY_EVENT, by
        transfer::an_import_with_a_gap_is_refused_and_writes_nothing,
        transfer::an_append_beyond_the_end_of_an_import_is_refused,
        transfer::a_cancelled_import_is_there_wholly_or_not_at_all;
    a_store_that_ignores_fences_is_caught: IGNORES_FENCES, by
        projections::a_step_from_another_checkpoint_writes_nothing,
        projections::a_step_from_another_epoch_writes_nothing,
        projections::of_racing_steps_from_one_checkpoint_exactly_one_commits;
    a_store_that_leases_to_everybody_is_caught: LEASES_TO_EVERYBODY, by
        leases::while_one_holds_a_lease_others_are_told_who,
        leases::of_racing_claims_exactly_one_holds,
        leases::who_takes_over_a_lease_that_ran_out_fences_the_last_owner_off;
    a_store_that_writes_rows_before_checkpoints_is_caught: WRITES_ROWS_BEFORE_CHECKPOINTS, by
        cancellation::a_cancelled_step_is_there_wholly_or_not_at_all;
    a_store_that_resumes_no_rebuild_is_caught: RESUMES_NO_REBUILD, by
        rebuild::a_rebuild_left_behind_is_resumed_where_it_was;
    a_store_that_mixes_both_tables_is_caught: MIXES_BOTH_TABLES, by
        rebuild::a_rebuild_leaves_the_live_table_alone;
    a_store_that_installs_nothing_inline_is_caught: INSTALLS_NOTHING_INLINE, by
        inline::inline_rows_are_there_with_the_append,
        inline::missed_events_are_folded_when_an_inline_projection_is_installed,
        inline::an_inline_refusal_rejects_its_append_and_leaves_nothing;
    a_store_that_swaps_in_two_steps_is_caught: SWAPS_IN_TWO_STEPS, by
        swap::a_reader_sees_the_whole_old_table_or_the_whole_new_one;
}
