//! Halving over time in whole numbers, the same on all machines.
//!
//! Fractions below one are kept in units of 2^-64.

/// One.
const ONE: u128 = 1 << 64;
/// The natural logarithm of two.
const LN_2: u64 = 0xB172_17F7_D1CF_79AB;
/// One over that, less one.
const LN_2_INVERSE: u64 = 0x7154_7652_B82F_E177;
/// 2 to the power of -2^-1, -2^-2, … -2^-32, rounded down.
const ROOTS: [u64; 32] = [
    0xB504_F333_F9DE_6484,
    0xD744_FCCA_D69D_6AF4,
    0xEAC0_C6E7_DD24_392E,
    0xF525_7D15_2486_CC2C,
    0xFA83_B2DB_722A_033A,
    0xFD3E_0C0C_F486_C174,
    0xFE9E_115C_7B8F_884B,
    0xFF4E_CB59_511E_C8A5,
    0xFFA7_5652_1C8D_AED1,
    0xFFD3_A751_C0F7_E10B,
    0xFFE9_D2B2_F7DB_2755,
    0xFFF4_E91B_FF1B_8C3D,
    0xFFFA_747E_A004_0664,
    0xFFFD_3A3B_7814_EB53,
    0xFFFE_9D1C_C60D_DAB1,
    0xFFFF_4E8E_2587_9BFA,
    0xFFFF_A747_0363_F451,
    0xFFFF_D3A3_7DDA_0313,
    0xFFFF_E9D1_BDF7_03AE,
    0xFFFF_F4E8_DEBE_025E,
    0xFFFF_FA74_6F4F_A150,
    0xFFFF_FD3A_37A3_F8B0,
    0xFFFF_FE9D_1BD1_065A,
    0xFFFF_FF4E_8DE8_45AD,
    0xFFFF_FFA7_46F4_1376,
    0xFFFF_FFD3_A37A_05E3,
    0xFFFF_FFE9_D1BD_01FB,
    0xFFFF_FFF4_E8DE_80C0,
    0xFFFF_FFFA_746F_4050,
    0xFFFF_FFFD_3A37_A024,
    0xFFFF_FFFE_9D1B_D011,
    0xFFFF_FFFF_4E8D_E808,
];
/// Where the closed form of [`area`] would lose digits a series is used: up to this part of a half-life.
const SHORT: u64 = 256;

/// `value` times a fraction, rounded down; a fraction of [`ONE`] changes nothing.
pub(super) fn times(value: u128, fraction: u128) -> u128 {
    let (high, low) = (value >> 64, value & (ONE - 1));
    match fraction {
        ONE.. => value,
        fraction => high * fraction + ((low * fraction) >> 64),
    }
}

/// 2 to the power of -`elapsed`/`half_life`, rounded down to 2^-64, and before that at most 2^-57 of itself too small.
/// Both are in milliseconds; a half-life of zero leaves nothing, the greatest one everything.
pub(super) fn factor(elapsed: u64, half_life: u64) -> u128 {
    if elapsed == 0 || half_life == u64::MAX {
        return ONE;
    }
    let Some(halvings) = elapsed.checked_div(half_life) else { return 0 };
    if halvings > 64 {
        return 0;
    }
    let part = (u128::from(elapsed % half_life) << 64) / u128::from(half_life);
    let roots = ROOTS.iter().enumerate().filter(|(at, _)| part >> (63 - at) & 1 == 1);
    let factor = roots.fold(ONE, |factor, (_, &root)| (factor * u128::from(root)) >> 64);
    // What is left of the exponent is below 2^-32, where the curve is as good as straight.
    let rest = part & u128::from(u32::MAX);
    let less = (rest * u128::from(LN_2)).div_ceil(ONE);
    (times(factor, ONE - less)) >> halvings
}

/// What one unit a millisecond comes to after `elapsed` milliseconds if it counts half after each half-life, in units
/// of 2^-32 milliseconds: the area under 2 to the power of -t/`half_life`. At most 2^-36 of itself and one unit off.
pub(super) fn area(elapsed: u64, half_life: u64) -> u128 {
    let whole = u128::from(elapsed) << 32;
    if half_life == u64::MAX {
        return whole;
    }
    if elapsed > half_life / SHORT {
        // half_life / ln 2 * (1 - 2^(-elapsed / half_life))
        let area = times(u128::from(half_life) << 32, ONE - factor(elapsed, half_life));
        return area + times(area, LN_2_INVERSE.into());
    }
    // elapsed * (1 - e^-y) / y, where y = elapsed / half_life * ln 2: 1 - y/2 + y²/6 - y³/24.
    let y = times((u128::from(elapsed) << 64).checked_div(half_life.into()).unwrap_or(0), LN_2.into());
    let square = times(y, y);
    let mean = ONE - y / 2 + square / 6 - times(square, y) / 24;
    times(whole, mean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a fraction is as a number; the tests alone reckon with such.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are compared")]
    fn number(value: u128, bits: i32) -> f64 {
        value as f64 / 2_f64.powi(bits)
    }

    #[test]
    fn each_root_is_the_square_root_of_the_one_before() {
        // The square of 2^64 times the first one is half of 2^128.
        let mut square: u128 = 1 << 127;
        for root in ROOTS {
            let (root, next) = (u128::from(root), u128::from(root) + 1);
            // Rounded down twice: the square of a root that is rounded down lies at most two units below.
            assert!(root * root <= square && square.saturating_sub(next * next) <= 4 << 64, "{root:x}");
            square = (root << 64) | (ONE - 1);
        }
    }

    #[test]
    fn whole_half_lives_halve_exactly() {
        for (elapsed, expected) in [(0, ONE), (7, ONE / 2), (14, ONE / 4), (7 * 64, 1), (7 * 65, 0), (u64::MAX, 0)] {
            assert_eq!(factor(elapsed, 7), expected, "{elapsed}");
        }
        assert_eq!((factor(0, 0), factor(1, 0), area(1, 0)), (ONE, 0, 0));
        assert_eq!((factor(u64::MAX, u64::MAX), area(5, u64::MAX)), (ONE, 5 << 32));
    }

    #[test]
    fn known_values_are_met() {
        // 2^-0.5, 2^-0.25, 2^-0.1 and the area of one half-life, 1/(2 ln 2).
        for (elapsed, expected) in
            [(50, std::f64::consts::FRAC_1_SQRT_2), (25, 0.840_896_415_253_714_6), (10, 0.933_032_991_536_807_4)]
        {
            assert!((number(factor(elapsed, 100), 64) - expected).abs() < 1e-15);
        }
        assert!((number(area(1_000_000, 1_000_000), 32) / 721_347.520_444_481_7 - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn more_time_leaves_less_and_brings_more(elapsed in 0..u64::MAX, more in 0..1000_u64, half_life: u64) {
            let later = elapsed.saturating_add(more);
            prop_assert!(factor(later, half_life) <= factor(elapsed, half_life));
            let (sooner, later) = (area(elapsed, half_life), area(later, half_life));
            prop_assert!(later + (sooner >> 35) >= sooner);
        }

        #[test]
        fn both_are_as_exact_as_they_say(elapsed in 1..1_u64 << 45, half_life in 1000..1_u64 << 45) {
            #[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
            let (t, h) = (elapsed as f64, half_life as f64);
            let exact = (-t / h).exp2();
            prop_assert!((number(factor(elapsed, half_life), 64) - exact).abs() <= exact * 1e-13 + 2_f64.powi(-63));
            let exact = h / std::f64::consts::LN_2 * -(-t / h * std::f64::consts::LN_2).exp_m1();
            prop_assert!((number(area(elapsed, half_life), 32) / exact - 1.0).abs() < 2_f64.powi(-36));
        }

        #[test]
        fn the_area_of_two_parts_is_that_of_the_whole(
            first in 0..1_u64 << 40, second in 0..1_u64 << 40, half_life in 1..1_u64 << 40,
        ) {
            let parts = times(area(first, half_life), factor(second, half_life)) + area(second, half_life);
            let whole = area(first + second, half_life);
            prop_assert!(parts.abs_diff(whole) <= (whole >> 34) + 4);
        }
    }
}
