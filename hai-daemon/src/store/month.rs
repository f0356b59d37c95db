//! Months by which history is kept and dropped, in UTC.

use chrono::{Datelike as _, Months, NaiveDate};
use hai_core::model::Time;

/// The beginning of the month `ahead` months after that of `time`; `None` beyond the years that a calendar knows.
pub(super) fn begin(time: Time, ahead: u32) -> Option<Time> {
    let date = time.to_utc()?.date_naive();
    let month = NaiveDate::from_ymd_opt(date.year(), date.month(), 1)?.checked_add_months(Months::new(ahead))?;
    Some(Time::from(month.and_time(chrono::NaiveTime::MIN).and_utc()))
}

/// A name for the month of `time`: `2026_11`.
pub(super) fn name(time: Time) -> Option<String> {
    let date = time.to_utc()?.date_naive();
    Some(format!("{:04}_{:02}", date.year(), date.month()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_at_midnight_of_their_first_day() {
        let time = |text: &str| Time::from(text.parse::<chrono::DateTime<chrono::Utc>>().expect("a time"));
        for (within, ahead, month) in [
            ("2026-11-01T00:00:00Z", 0, "2026-11-01T00:00:00Z"),
            ("2026-11-30T23:59:59.999Z", 0, "2026-11-01T00:00:00Z"),
            ("2026-11-30T23:59:59.999Z", 2, "2027-01-01T00:00:00Z"),
            ("1969-12-31T23:00:00Z", 0, "1969-12-01T00:00:00Z"),
        ] {
            assert_eq!(begin(time(within), ahead), Some(time(month)), "{within}, {ahead} on");
        }
        assert_eq!(name(time("2026-01-31T00:00:00Z")).as_deref(), Some("2026_01"));
        assert_eq!((begin(Time::from_ms(i64::MAX), 0), name(Time::from_ms(i64::MIN))), (None, None));
    }
}
