//! The random numbers of Go's `math/rand` for a seed: G. J. Mitchell and D. P. Moore's additive lagged Fibonacci generator
//! (D. E. Knuth, The Art of Computer Programming, vol. 2, section 3.2.2), 607 words modulo 2^64 with taps 607 and 273.
//!
//! A seed fills the words by a linear congruential generator and mixes in a table of constants. Those are the words of the
//! same recurrence a long way on ([`WARM_UP_STEPS`]), so they are worked out here rather than copied: the state after N steps
//! follows from x^N modulo x^607 - x^334 - 1.

use std::sync::OnceLock;

/// Words of state.
const LENGTH: usize = 607;
/// The shorter lag.
const TAP: usize = 273;
/// So far on the recurrence was when the table of constants was taken.
const WARM_UP_STEPS: u64 = 7_800_000_000_000;
/// The modulus of the generator that seeds.
const M: u64 = (1 << 31) - 1;

/// A stream of Go's random numbers.
#[derive(Clone, Debug)]
pub(crate) struct GoRandom {
    words: Box<[u64; LENGTH]>,
    tap: usize,
    feed: usize,
}

impl GoRandom {
    /// The stream of a seed: `rand.Seed(seed)`.
    pub(crate) fn new(seed: i64) -> Self {
        let table = constants();
        let mut words = filled(seed, [40, 20, 0]);
        words.iter_mut().zip(table).for_each(|(word, constant)| *word ^= constant);
        GoRandom { words, tap: 0, feed: LENGTH - TAP }
    }

    /// 64 random bits: `rand.Uint64()`.
    fn bits(&mut self) -> u64 {
        self.tap = self.tap.checked_sub(1).unwrap_or(LENGTH - 1);
        self.feed = self.feed.checked_sub(1).unwrap_or(LENGTH - 1);
        let word = self.words[self.feed].wrapping_add(self.words[self.tap]);
        self.words[self.feed] = word;
        word
    }

    /// 63 random bits: `rand.Int63()`.
    pub(crate) fn int63(&mut self) -> u64 {
        self.bits() & (u64::MAX >> 1)
    }

    /// 31 random bits: `rand.Int31()`.
    fn int31(&mut self) -> u32 {
        (self.int63() >> 32) as u32
    }

    /// A number below `n`: `rand.Intn(n)`.
    ///
    /// # Panics
    /// If `n` is zero, or 2^31 or more.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u32::try_from(n).ok().filter(|n| (1..1 << 31).contains(n)).expect("1 to 2^31 - 1");
        if n.is_power_of_two() {
            return (self.int31() & (n - 1)) as usize;
        }
        let most = (1_u32 << 31) - 1 - (1_u32 << 31) % n;
        let mut drawn = self.int31();
        while drawn > most {
            drawn = self.int31();
        }
        (drawn % n) as usize
    }

    /// A number below `n`, as `rand.Shuffle` draws it (D. Lemire, Fast Random Integer Generation in an Interval, 2019).
    fn below_by_product(&mut self, n: u32) -> u32 {
        let mut product = (self.int63() >> 31) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = (self.int63() >> 31) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// Puts things in a random order: `rand.Shuffle`.
    ///
    /// # Panics
    /// For 2^31 things and more.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let n = u32::try_from(last + 1).expect("fewer than 2^31");
            things.swap(last, self.below_by_product(n) as usize);
        }
    }

    /// A random order of the numbers below `n`: `rand.Perm(n)`.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order = vec![0; n];
        for at in 0..n {
            let other = self.below(at + 1);
            order[at] = order[other];
            order[other] = at;
        }
        order
    }
}

/// State filled from a seed, each word of three numbers at these places.
fn filled(seed: i64, shifts: [u32; 3]) -> Box<[u64; LENGTH]> {
    let mut x = match seed.rem_euclid(M as i64) as u64 {
        0 => 89_482_311,
        x => x,
    };
    let mut next = || {
        x = x * 48_271 % M;
        x
    };
    (0..20).for_each(|_| {
        next();
    });
    let mut words = Box::new([0; LENGTH]);
    for word in words.iter_mut() {
        *word = shifts.iter().fold(0, |word, shift| word ^ (next() << shift));
    }
    words
}

/// The table of constants, worked out once.
fn constants() -> &'static [u64; LENGTH] {
    static TABLE: OnceLock<Box<[u64; LENGTH]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let start = filled(1, [20, 10, 0]);
        // Output y(k) stands at (334 - k) modulo 607: at first those for k = -606 ..= 0, in the end those up to N.
        let place = |k: usize| (3 * LENGTH - TAP - 1 - k) % LENGTH;
        let turned = (WARM_UP_STEPS % LENGTH as u64) as usize;
        let power = power_of_x(WARM_UP_STEPS);
        // y(N - 606 + j) = sum of c(i) y(-606 + i + j): a window over the recurrence.
        let mut y: Vec<u64> = (0..LENGTH).map(|k| start[place(k)]).collect();
        for k in LENGTH..2 * LENGTH {
            y.push(y[k - LENGTH].wrapping_add(y[k - TAP]));
        }
        let mut table = Box::new([0; LENGTH]);
        for j in 0..LENGTH {
            let terms = power.iter().zip(&y[j..]);
            table[place((j + turned) % LENGTH)] = terms.fold(0_u64, |sum, (c, y)| sum.wrapping_add(c.wrapping_mul(*y)));
        }
        table
    })
}

/// x^n modulo x^607 - x^334 - 1, coefficients modulo 2^64, from the constant one on.
fn power_of_x(n: u64) -> Vec<u64> {
    let mut power = vec![0_u64; LENGTH];
    power[0] = 1;
    for bit in (0..u64::BITS - n.leading_zeros()).rev() {
        power = reduced(square(&power));
        if (n >> bit) & 1 == 1 {
            power.insert(0, 0);
            power = reduced(power);
        }
    }
    power
}

/// The square of a polynomial.
fn square(a: &[u64]) -> Vec<u64> {
    let mut product = vec![0_u64; 2 * a.len() - 1];
    for (at, &x) in a.iter().enumerate() {
        product[2 * at] = product[2 * at].wrapping_add(x.wrapping_mul(x));
        let doubled = x.wrapping_mul(2);
        for (sum, y) in product[2 * at + 1..].iter_mut().zip(&a[at + 1..]) {
            *sum = sum.wrapping_add(doubled.wrapping_mul(*y));
        }
    }
    product
}

/// A polynomial modulo x^607 = x^334 + 1.
fn reduced(mut a: Vec<u64>) -> Vec<u64> {
    for high in (LENGTH..a.len()).rev() {
        let c = a[high];
        a[high - LENGTH] = a[high - LENGTH].wrapping_add(c);
        a[high - TAP] = a[high - TAP].wrapping_add(c);
    }
    a.truncate(LENGTH);
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_those_of_go() {
        assert_eq!(constants()[..2], [14_264_951_931_575_795_690, 13_869_761_123_581_321_051]);
    }

    #[test]
    fn a_power_of_x_is_that_many_steps() {
        // x^n * x^m = x^(n+m), and small powers are themselves.
        let mut product = vec![0_u64; 2 * LENGTH - 1];
        for (at, &a) in power_of_x(1234).iter().enumerate() {
            for (to, &b) in power_of_x(98_765).iter().enumerate() {
                product[at + to] = product[at + to].wrapping_add(a.wrapping_mul(b));
            }
        }
        assert_eq!(reduced(product), power_of_x(1234 + 98_765));
        let sixth = power_of_x(6);
        assert_eq!((sixth[6], sixth.iter().sum::<u64>()), (1, 1));
        let turned = power_of_x(607);
        assert_eq!((turned[0], turned[334], turned.iter().sum::<u64>()), (1, 1, 2));
    }

    #[test]
    fn orders_hold_each_number_once() {
        let mut random = GoRandom::new(-3);
        let mut order = random.permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        random.shuffle(&mut order);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        // The seeds 0 and 2^31 - 1 are both the published one of the generator.
        assert_eq!(GoRandom::new(0).int63(), GoRandom::new((1 << 31) - 1).int63());
    }
}
