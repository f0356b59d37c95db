//! Names, priorities, lengths of time and digests, read from any text.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use hai_core::backend::Digest;
use hai_core::model::{DeviceId, GroupName, ModelName, NodeName, Priority, Rank, Span, Time, UserName};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is accepted prints as a text that is read back as the same; what is not says why in one line.
pub fn names_and_spans(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    read::<UserName>(text);
    read::<GroupName>(text);
    read::<NodeName>(text);
    read::<DeviceId>(text);
    read::<ModelName>(text);
    read::<Priority>(text);
    read::<Digest>(text);
    if let Some(span) = same_printed::<Span>(text) {
        let time = Time::from_ms(0) + span;
        assert!(time.since(Time::from_ms(0)) <= span, "time runs away: {span}");
        let _ = (time - span, Time::MAX + span, span + span, span - Span::MAX, time.to_string());
    }
    if let Ok(number) = text.trim().parse() {
        assert_eq!(Rank::new(number).is_some(), number.is_finite());
        let _ = number as i64;
        if let Some(rank) = Rank::new(number) {
            let json = serde_json::to_string(&rank).expect("a finite number");
            assert_eq!(serde_json::from_str::<Rank>(&json).expect("what was written reads back"), rank);
        }
    }
    if let Ok(ms) = text.trim().parse() {
        // Any point in time can be shown.
        assert!(!Time::from_ms(ms).to_string().is_empty());
    }
}

fn same_printed<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>();
            assert_eq!(again.ok().as_ref(), Some(&value), "`{value}` does not read back");
            Some(value)
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.contains('\n') | text.contains('\n'), "{said}");
            None
        }
    }
}

/// The same through JSON.
fn read<T>(text: &str)
where
    T: FromStr<Err: Display> + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    if let Some(value) = same_printed::<T>(text) {
        let json = serde_json::to_string(&value).expect("a text");
        assert_eq!(serde_json::from_str::<T>(&json).expect("what was written reads back"), value);
    }
}
