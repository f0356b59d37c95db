//! The fuzz target `upstream_rows`; what it does stands in the library. Without `--cfg fuzzing` it replays files.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hai_fuzz::upstream_rows(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    hai_fuzz::replay_arguments(hai_fuzz::upstream_rows)
}
