//! The list of all scenarios.

/// Makes a test of each scenario of the suite, for the [`Fixture`] of one store.
///
/// [`Fixture`]: crate::conformance::Fixture
#[macro_export]
macro_rules! conformance {
    ($fixture:ty) => {
        $crate::conformance! { @scenarios $fixture,
            append {
                an_empty_store_has_no_head_and_no_events,
                an_append_answers_position_and_version,
                a_stream_without_events_meets_the_expectations_it_should,
                a_stream_with_events_meets_the_expectations_it_should,
                a_conflict_says_what_was_expected,
                an_append_over_several_streams_is_in_the_order_of_its_writes,
                a_conflict_on_one_stream_leaves_nothing_on_the_others,
                a_write_without_events_only_checks_its_stream,
                streams_that_look_alike_are_kept_apart,
                what_was_appended_is_there_for_another_handle,
            }
            races {
                of_writers_that_expect_the_same_version_exactly_one_wins,
                of_writers_that_create_a_stream_exactly_one_wins,
                writers_of_different_streams_all_win,
                writers_that_expect_nothing_share_a_stream,
                overlapping_appends_over_several_streams_never_mix,
            }
            reads {
                a_stream_is_read_forwards_from_anywhere,
                a_stream_is_read_backwards_from_anywhere,
                a_stream_that_does_not_exist_is_empty_both_ways,
                the_log_is_read_forwards_from_anywhere,
                the_log_is_read_backwards_from_anywhere,
                a_stream_read_answers_the_same_events_as_the_log,
                both_directions_answer_the_same_events,
            }
            paging {
                pages_of_every_size_join_to_the_whole,
                pages_join_to_the_whole_backwards_too,
                a_page_at_the_end_was_looked_through_up_to_the_head,
                a_full_page_does_not_skip_what_it_did_not_answer,
                a_page_of_an_unfiltered_log_is_full_unless_it_is_the_last,
                a_page_of_no_events_leads_nowhere,
                a_reader_at_the_head_stays_there,
                a_page_of_an_empty_log_is_its_end,
            }
            queries {
                a_query_answers_what_matches_one_of_its_items,
                a_query_answers_the_same_backwards,
                a_query_starts_after_the_position_it_is_given,
                an_event_that_matches_twice_comes_once,
                a_tag_given_twice_is_one_tag_to_a_query,
            }
            conditions {
                a_condition_on_an_empty_log_holds,
                a_condition_sees_what_was_appended_before,
                a_condition_names_the_first_event_in_its_way,
                a_condition_ignores_what_was_read_already,
                a_condition_with_a_query_for_everything_asks_for_an_unchanged_log,
                a_condition_selects_by_type_category_and_all_tags,
                a_condition_does_not_see_the_appends_own_events,
                both_the_expectation_and_the_condition_must_hold,
                of_racing_appends_under_one_condition_exactly_one_wins,
                racing_appends_under_disjoint_conditions_all_win,
            }
            idempotency {
                an_append_repeated_as_it_is_answers_as_the_first_time,
                a_condition_does_not_refuse_a_repeated_append,
                the_same_append_ten_times_at_once_is_written_once,
                an_append_id_answers_as_the_first_time_whatever_the_event_ids,
                an_append_id_used_ten_times_at_once_is_written_once,
                an_append_id_used_for_something_else_is_refused,
                an_event_id_used_for_something_else_is_refused,
                an_append_without_events_is_remembered_by_its_id,
                an_append_that_failed_did_not_use_up_its_ids,
                an_append_is_found_by_its_id,
            }
            bytes {
                whatever_is_appended_comes_back_as_it_was,
                payloads_that_are_no_text_or_no_json_come_back,
                a_payload_of_a_mebibyte_comes_back,
                names_of_the_greatest_length_come_back,
            }
            limits {
                an_append_beyond_a_limit_is_invalid_and_writes_nothing,
                an_append_of_as_many_events_as_allowed_is_written,
                a_payload_as_large_as_allowed_is_written,
                as_many_tags_as_allowed_are_written,
                an_append_over_hundreds_of_streams_is_written,
            }
            cancellation {
                a_cancelled_append_is_there_wholly_or_not_at_all,
                a_cancelled_read_disturbs_nobody,
            }
            closing {
                a_closed_store_refuses_appends,
                closing_finishes_the_appends_it_accepted,
                closing_wakes_those_who_wait,
            }
            tail {
                a_reader_sees_the_log_in_order_and_a_naive_one_is_caught,
                every_reader_sees_the_same_prefix_at_any_moment,
                a_waiter_is_answered_at_once_when_there_is_something,
                an_append_wakes_all_who_wait,
                an_append_that_fails_wakes_nobody,
                events_on_both_handles_have_distinct_positions,
            }
            properties {
                random_operations_answer_as_the_model_does,
            }
            snapshots {
                a_snapshot_comes_back_byte_for_byte,
                a_snapshot_of_another_schema_is_not_found,
                a_newer_snapshot_replaces_an_older_one,
                an_older_snapshot_does_not_replace_a_newer_one,
                an_older_snapshot_replaces_a_newer_one_of_another_schema,
            }
        }
    };
    (@scenarios $fixture:ty, $($subject:ident { $($scenario:ident,)+ })+) => {
        $(mod $subject {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $scenario() {
                $crate::conformance::run::<$fixture, _>($crate::conformance::$subject::$scenario);
            })+
        })+
    };
}
