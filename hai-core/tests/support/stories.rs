//! How random stories are drawn: always the same ones, unless the environment says otherwise.

use proptest::test_runner::{Config, RngSeed};

/// The default seed: any number will do, as long as it stays.
const SEED: u64 = 20_261_125;

/// `times` as many stories as proptest would try, which `PROPTEST_CASES` says; and which ones, `PROPTEST_RNG_SEED`.
pub(crate) fn stories(share: u64, times: u32) -> Config {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    };
    let (rng_seed, cases) = (RngSeed::Fixed(seed + share), config.cases * times);
    Config { rng_seed, cases, failure_persistence: None, max_shrink_iters: 20_000, ..config }
}
