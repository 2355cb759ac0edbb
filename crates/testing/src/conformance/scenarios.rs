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
                a_page_that_is_short_is_large_or_the_last,
                as_many_tags_as_allowed_are_written,
                an_append_over_hundreds_of_streams_is_written,
            }
            cancellation {
                a_cancelled_append_is_there_wholly_or_not_at_all,
                a_cancelled_read_disturbs_nobody,
                a_cancelled_step_is_there_wholly_or_not_at_all,
                a_cancelled_append_counts_in_inline_rows_once,
            }
            closing {
                a_closed_store_refuses_appends,
                closing_finishes_the_appends_it_accepted,
                closing_wakes_those_who_wait,
            }
            transfer {
                an_imported_log_comes_back_as_it_was,
                a_store_that_is_exported_equals_the_one_it_is_imported_into,
                an_import_keeps_microseconds_of_any_year,
                a_repeated_append_answers_as_the_first_time_after_a_move,
                appends_after_an_import_are_dense,
                an_import_with_a_gap_is_refused_and_writes_nothing,
                an_import_into_a_store_with_events_goes_on_at_its_head_only,
                an_import_with_a_version_that_does_not_follow_is_refused,
                an_import_of_an_id_that_is_there_already_is_refused,
                an_append_beyond_the_end_of_an_import_is_refused,
                an_import_beyond_a_limit_is_refused,
                appends_are_paged_in_the_order_of_their_ids,
                an_import_wakes_those_who_wait,
                an_import_counts_in_inline_rows,
                a_cancelled_import_is_there_wholly_or_not_at_all,
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
            projections {
                a_new_projection_runs_from_the_start,
                a_projection_registered_again_goes_on_where_it_was,
                a_stopped_projection_registered_again_stays_stopped,
                projections_are_listed_by_name,
                other_code_makes_a_projection_outdated_and_its_own_runs_it_again,
                a_table_that_belongs_to_another_projection_is_refused,
                rows_and_checkpoint_are_committed_together,
                a_step_replaces_and_deletes_rows,
                a_step_without_rows_moves_the_checkpoint,
                a_step_from_another_checkpoint_writes_nothing,
                a_step_from_another_epoch_writes_nothing,
                of_racing_steps_from_one_checkpoint_exactly_one_commits,
                a_paused_projection_commits_nothing_until_it_runs_again,
                the_state_of_an_unknown_projection_is_not_set,
                a_failure_stops_the_projection_and_is_visible,
                a_failure_of_somebody_who_was_overtaken_is_not_recorded,
                parked_events_come_back_by_position,
                parked_events_are_retried_on_wish_and_unparked_with_a_step,
            }
            rows {
                values_of_every_type_come_back,
                rows_are_scanned_in_the_order_of_their_keys,
                a_scan_goes_on_after_a_key,
                a_scan_goes_on_after_a_key_that_is_not_there,
                rows_are_found_by_their_whole_key,
                thousands_of_rows_are_written_and_found_at_once,
                a_row_of_the_wrong_shape_is_refused,
                rows_of_a_new_table_come_back_however_they_are_written,
            }
            leases {
                a_new_projection_is_nobodys,
                who_claims_a_projection_holds_it_visibly,
                while_one_holds_a_lease_others_are_told_who,
                of_racing_claims_exactly_one_holds,
                a_renewed_lease_lasts_and_keeps_its_epoch,
                a_renewal_can_shorten_a_lease,
                who_takes_over_a_lease_that_ran_out_fences_the_last_owner_off,
                who_lost_a_lease_can_neither_renew_nor_release_it,
                an_owner_that_is_late_goes_on_while_nobody_came,
                a_released_lease_is_had_at_once,
                an_owner_that_released_and_comes_back_keeps_its_epoch,
                an_unknown_projection_has_no_lease,
                each_projection_has_a_lease_of_its_own,
                an_operator_leaves_the_lease_to_its_owner,
                a_rebuild_by_somebody_else_leaves_the_lease_to_its_owner,
                a_projection_registered_again_stays_leased,
                a_lease_outlives_the_handle_it_was_taken_with,
            }
            rebuild {
                a_rebuild_of_an_unknown_projection_is_refused,
                a_rebuild_begins_empty_at_the_start_and_is_visible,
                a_rebuild_leaves_the_live_table_alone,
                a_rebuild_goes_on_while_the_projection_is_stopped,
                events_parked_by_a_rebuild_are_its_own,
                a_rebuild_step_from_another_checkpoint_writes_nothing,
                a_second_rebuild_at_the_same_time_is_refused,
                of_rebuilds_that_begin_at_once_exactly_one_does,
                a_rebuild_left_behind_is_resumed_where_it_was,
                who_lost_a_rebuild_can_do_nothing_more_to_it,
                a_rebuild_left_behind_is_thrown_away_when_asked,
                a_rebuild_left_behind_by_other_code_is_thrown_away,
                a_renewed_lease_lasts,
                an_abandoned_rebuild_is_kept_for_another_or_goes,
            }
            swap {
                a_swap_brings_rows_checkpoint_and_a_new_epoch_together,
                a_swap_folds_what_the_live_table_has_and_the_new_one_lacks,
                a_new_table_may_be_ahead_of_the_live_one,
                a_new_table_that_is_far_behind_is_not_swapped_in,
                a_swap_by_somebody_who_was_overtaken_changes_nothing,
                a_swap_whose_missing_events_cannot_be_folded_changes_nothing,
                equal_tables_have_no_differences,
                tables_are_compared_at_the_same_position,
                wrong_missing_and_surplus_rows_are_the_differences,
                only_as_many_differing_rows_are_shown_as_asked_for,
                a_swap_sets_a_failed_projection_running,
                a_swap_makes_the_rows_those_of_the_new_code,
                a_reader_sees_the_whole_old_table_or_the_whole_new_one,
                a_cancelled_swap_leaves_the_whole_old_table_or_the_whole_new_one,
            }
            inline {
                inline_rows_are_there_with_the_append,
                missed_events_are_folded_when_an_inline_projection_is_installed,
                missed_events_that_cannot_be_folded_are_the_answer_of_the_installation,
                events_appended_without_an_inline_projection_are_folded_before_the_next,
                a_missed_event_that_cannot_be_folded_stops_its_projection_and_no_append,
                a_missed_event_that_cannot_be_folded_stops_its_projection_and_no_import,
                an_inline_refusal_rejects_its_append_and_leaves_nothing,
                an_inline_refusal_rejects_nobody_elses_append,
                conflicts_and_repeats_do_not_count_twice_in_inline_rows,
                an_inline_projection_survives_writers_that_race,
                an_inline_projection_of_another_log_halts_when_it_is_installed,
                an_inline_projection_whose_log_was_swapped_halts_with_the_next_append,
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

/// Makes a test of each scenario about an SQL database, for one [`Database`].
///
/// [`Database`]: crate::conformance::database::Database
#[macro_export]
macro_rules! database_conformance {
    ($database:ty) => {
        $crate::database_conformance! { @scenarios $database,
            tables {
                a_table_of_the_application_is_left_alone,
                a_table_that_somebody_dropped_is_filled_from_the_beginning,
                prepared_statements_of_other_connections_survive_a_swap,
                a_rebuild_brings_a_table_of_other_columns,
                an_index_that_does_not_fit_the_new_columns_stops_the_swap,
            }
            sql_live {
                statements_and_checkpoint_commit_together,
                a_reopened_projection_goes_on_with_its_tables,
                a_failing_event_is_named_and_nothing_of_its_batch_is_applied,
                a_step_that_was_overtaken_applies_nothing,
                tables_that_are_somebody_elses_are_left_alone,
                an_inline_projection_is_there_with_the_append,
                an_inline_projection_takes_in_what_others_appended_without_it,
            }
            backlog {
                a_long_backlog_is_folded_in_pieces_before_the_next_append,
            }
            sql_rebuild {
                a_rebuild_fills_new_tables_and_swaps_them_in,
                a_swap_takes_in_what_the_new_tables_lack_and_reports_what_differs,
                a_rebuild_is_resumed_where_it_stands,
                a_rebuild_that_is_given_up_leaves_nothing,
                a_rebuild_whose_tables_are_lost_begins_again,
                a_swap_that_was_overtaken_changes_nothing,
                an_inline_projection_is_rebuilt_up_to_the_head,
            }
        }
    };
    (@scenarios $database:ty, $($subject:ident { $($scenario:ident,)+ })+) => {
        $(mod $subject {
            #[allow(unused_imports)]
            use super::*;

            $(#[test]
            fn $scenario() {
                $crate::conformance::database::run::<$database, _>(
                    $crate::conformance::database::$subject::$scenario,
                );
            })+
        })+
    };
}
