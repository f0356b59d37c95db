//! Waiting times drawn by lot, in integers alone, so that they are the same on every machine.

use crate::model::Span;
use crate::sim::SplitMix64;

/// ln 2, in units of 2^-32.
const LN_2: u128 = 2_977_044_472;

/// −ln((bits + 1) / 2^64), in units of 2^-32; off by less than 2^-28.
pub(super) fn minus_ln(bits: u64) -> u64 {
    let value = u128::from(bits) + 1;
    if value >> 64 == 1 {
        return 0;
    }
    let zeros = (value as u64).leading_zeros();
    // From 1 up to 2, in units of 2^-63; squaring it shifts its logarithm's digits out, one by one.
    let mut mantissa = u128::from((value as u64) << zeros);
    let mut fraction: u64 = 0;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    let log_2 = ((u64::from(zeros) + 1) << 32) - fraction;
    ((u128::from(log_2) * LN_2) >> 32) as u64
}

/// A span from the exponential distribution with this mean, at most 44 times as long.
pub(super) fn exponential(random: &mut SplitMix64, mean: Span) -> Span {
    let drawn = u128::from(minus_ln(random.next())) * u128::from(mean.as_ms());
    Span::from_ms(u64::try_from(drawn >> 32).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for bits in [0, 1, 2, 3, 1 << 20, 1 << 62, 1 << 63, (1 << 63) + 12_345, u64::MAX - 1, u64::MAX] {
            let exact = -((bits as f64 + 1.0) / 2_f64.powi(64)).ln();
            let drawn = minus_ln(bits) as f64 / 2_f64.powi(32);
            assert!((exact - drawn).abs() < 1e-7, "{bits}: {exact} {drawn}");
        }
    }

    #[test]
    fn spans_have_the_mean_and_the_spread_of_the_distribution() {
        let mut random = SplitMix64::new(5);
        let mean = Span::from_secs(1000);
        let drawn: Vec<f64> = (0..20_000).map(|_| exponential(&mut random, mean).as_ms() as f64 / 1e6).collect();
        let average = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let beyond = drawn.iter().filter(|&&span| span > 1.0).count() as f64 / drawn.len() as f64;
        assert!((average - 1.0).abs() < 0.03, "{average}");
        // e^-1 of them are longer than the mean.
        assert!((beyond - 0.3679).abs() < 0.01, "{beyond}");
    }
}
