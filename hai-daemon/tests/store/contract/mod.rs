//! What every store keeps to, whatever it is in: the same tests over memory, an SQLite file and a Postgres server.

mod accounts;
mod commits;
pub(crate) mod driver;
pub(crate) mod history;
mod lease;
mod random;
mod readers;

/// The tests of all that a store in a database promises, once for each database.
macro_rules! over_databases {
    ($($module:ident: $($test:ident),*;)*) => {
        mod sqlite {
            $(mod $module {
                $(#[test]
                fn $test() {
                    $crate::block_on(async { super::super::$module::$test(&mut $crate::place::Place::file()).await });
                })*
            })*
        }

        mod postgres {
            $(mod $module {
                $(#[test]
                fn $test() {
                    $crate::block_on(async {
                        if let Some(mut place) = $crate::place::Place::server().await {
                            super::super::$module::$test(&mut place).await;
                        }
                    });
                })*
            })*
        }
    };
}

over_databases! {
    lease: in_a_database;
    accounts: a_token_opens_until_it_is_replaced_or_taken_away, there_is_an_operator_after_asking_for_one,
        of_many_who_add_one_user_at_once_one_does;
    commits: old_takers_still_look_and_guessing_does_not_help, of_snapshots_some_are_kept,
        a_commit_that_fails_half_way_leaves_nothing_and_the_next_one_works,
        a_commit_that_is_abandoned_is_whole_or_nothing, a_damaged_row_is_named_and_does_not_hide_the_others;
    driver: the_driver_finds_here_what_it_would_find_in_memory_however_it_was_left;
    history: what_ended_is_put_away_and_reads_back_and_may_change_after_all,
        what_is_old_goes_by_whole_months_and_the_rest_hangs_together,
        of_what_is_pruned_while_others_commit_nothing_new_goes,
        something_stays_that_numbers_go_on_from;
    random: what_is_committed_reads_back_equal_even_after_the_store_is_dropped,
        pages_hold_what_the_filter_wants_newest_first;
    readers: numbers_beyond_all_that_is_stored_find_nothing_wrong, events_are_read_in_parts_and_by_user,
        readers_see_whole_commits_while_the_writer_goes_on;
}

mod memory {
    #[test]
    fn lease() {
        let store = hai_core::backend::MemoryStore::default();
        crate::block_on(super::lease::of_any_store(async || store.clone()));
    }
}
