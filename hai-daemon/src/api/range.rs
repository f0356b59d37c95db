//! Which bytes of a log are wanted: from a query or from a `Range` header.

use axum::http::{HeaderMap, header};

use super::problem::{ApiError, Kind};
use super::wire::LogQuery;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At this offset.
    At(u64),
    /// So many bytes before the end.
    BeforeEnd(u64),
}

/// Which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) begin: Begin,
    /// How many at most, if that was said.
    pub(super) bytes_max: Option<u64>,
    /// It was asked for with a `Range` header, so the answer is partial content.
    pub(super) ranged: bool,
}

impl Wanted {
    /// Reads the query and, unless it says where to begin, the header.
    pub(super) fn read(query: &LogQuery, headers: &HeaderMap) -> Result<Self, ApiError> {
        if query.offset.is_some() && query.tail.is_some() {
            let detail = "`offset` and `tail` both say where to begin; give one of them";
            return Err(ApiError::new(Kind::InvalidParameter, detail).at("tail"));
        }
        let begin = match (query.offset, query.tail) {
            (Some(offset), _) if offset < 0 => Some(Begin::BeforeEnd(offset.unsigned_abs())),
            (Some(offset), _) => Some(Begin::At(offset.unsigned_abs())),
            (None, tail) => tail.map(Begin::BeforeEnd),
        };
        let plain = Wanted { begin: begin.unwrap_or(Begin::At(0)), bytes_max: query.limit, ranged: false };
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(parse);
        match range {
            Some(range) if begin.is_none() && query.limit.is_none() && !query.follow => Ok(range),
            // RFC 9110 has servers ignore ranges that they do not understand.
            _ => Ok(plain),
        }
    }
}

/// One range of bytes; `None` for anything else, several ranges included.
fn parse(header: &str) -> Option<Wanted> {
    let (unit, range) = header.trim().split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return None;
    }
    let (begin, bytes_max) = match (first.trim(), last.trim()) {
        ("", last) => (Begin::BeforeEnd(number(last)?), None),
        (first, "") => (Begin::At(number(first)?), None),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (Begin::At(first), Some(last.checked_sub(first)?.saturating_add(1)))
        }
    };
    Some(Wanted { begin, bytes_max, ranged: true })
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(begin: Begin, bytes_max: Option<u64>) -> Option<Wanted> {
        Some(Wanted { begin, bytes_max, ranged: true })
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        assert_eq!(parse("bytes=0-99"), range(Begin::At(0), Some(100)));
        assert_eq!(parse("Bytes = 5-5"), range(Begin::At(5), Some(1)));
        assert_eq!(parse("bytes=100-"), range(Begin::At(100), None));
        assert_eq!(parse("bytes=-20"), range(Begin::BeforeEnd(20), None));
        assert_eq!(parse("bytes=0-18446744073709551615"), range(Begin::At(0), Some(u64::MAX)));
        for other in [
            "bytes=5-4",
            "bytes=-",
            "bytes=0-1,3-4",
            "lines=0-9",
            "bytes=+1-2",
            "bytes",
            "",
            "bytes=1-99999999999999999999",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_query_wins_over_the_header() {
        let headers = HeaderMap::from_iter([(header::RANGE, header::HeaderValue::from_static("bytes=5-9"))]);
        let read = |query: LogQuery| Wanted::read(&query, &headers);
        assert_eq!(read(LogQuery::default()).expect("a range"), range(Begin::At(5), Some(5)).expect("a range"));
        let from_end = read(LogQuery { offset: Some(-3), ..LogQuery::default() }).expect("an offset");
        assert_eq!((from_end.begin, from_end.ranged), (Begin::BeforeEnd(3), false));
        let lowest = read(LogQuery { offset: Some(i64::MIN), ..LogQuery::default() }).expect("an offset");
        assert_eq!(lowest.begin, Begin::BeforeEnd(1 << 63));
        assert!(read(LogQuery { offset: Some(1), tail: Some(1), ..LogQuery::default() }).is_err());
    }
}
