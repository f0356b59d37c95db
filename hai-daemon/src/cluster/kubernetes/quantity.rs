//! Kubernetes' quantities (`500m`, `16Gi`, `1e3`) as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Suffixes, and by how much they multiply, as a fraction.
const SUFFIXES: [(&str, u128, u128); 15] = [
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1000),
    ("k", 1000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
];

/// Whether an amount that is not whole counts as the greater or the lesser of its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// What is there: the lesser.
    Down,
    /// What is used: the greater.
    Up,
}

/// The quantity times `scale` over `unit`: processors in thousandths are `(1000, 1)`, memory in MiB is `(1, 1 << 20)`.
/// `None` for what is no quantity, is negative, or is beyond all machines.
pub(crate) fn whole(quantity: &Quantity, scale: u128, unit: u128, round: Round) -> Option<u64> {
    let text = quantity.0.trim();
    let suffix = SUFFIXES.iter().find(|(suffix, ..)| text.ends_with(suffix));
    let (number, times, over) = match suffix {
        Some((suffix, times, over)) => (&text[..text.len() - suffix.len()], *times, *over),
        None => (text, 1, 1),
    };
    let (digits, exponent) = match number.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let both = format!("{}{part}", whole.strip_prefix('+').unwrap_or(whole));
    if both.is_empty() || !both.bytes().all(|byte| byte.is_ascii_digit()) || both.len() > 24 {
        return None;
    }
    let exponent = exponent.checked_sub(i32::try_from(part.len()).ok()?)?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 24)?;
    let (up, down) = if exponent >= 0 { (power, 1) } else { (1, power) };
    let above = both.parse::<u128>().ok()?.checked_mul(times)?.checked_mul(up)?.checked_mul(scale)?;
    let below = over.checked_mul(down)?.checked_mul(unit)?;
    let result = if round == Round::Up { above.div_ceil(below) } else { above / below };
    u64::try_from(result).ok()
}

/// Processors in thousandths of a core.
pub(crate) fn milli(quantity: &Quantity, round: Round) -> Option<u64> {
    whole(quantity, 1000, 1, round)
}

/// Bytes in MiB.
pub(crate) fn mib(quantity: &Quantity, round: Round) -> Option<u64> {
    whole(quantity, 1, 1 << 20, round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let cpu = |text: &str| milli(&Quantity(text.to_owned()), Round::Down);
        let memory = |text: &str| mib(&Quantity(text.to_owned()), Round::Down);
        assert_eq!(
            (cpu("16"), cpu("500m"), cpu("0.1"), cpu("1.5"), cpu("1e3m")),
            (Some(16_000), Some(500), Some(100), Some(1500), Some(1000))
        );
        assert_eq!(
            (memory("16Gi"), memory("16384Mi"), memory("17179869184")),
            (Some(16_384), Some(16_384), Some(16_384))
        );
        assert_eq!((memory("16G"), memory("12e6"), memory("1E")), (Some(15_258), Some(11), Some(953_674_316_406)));
        assert_eq!(milli(&Quantity("1500u".to_owned()), Round::Up), Some(2));
        assert_eq!(milli(&Quantity("1500u".to_owned()), Round::Down), Some(1));
        for wrong in ["", "-1", "x", "1.2.3", "1Zi", "e3", "1e99", "99999999999999999999999999"] {
            assert_eq!(cpu(wrong), None, "{wrong}");
        }
    }
}
