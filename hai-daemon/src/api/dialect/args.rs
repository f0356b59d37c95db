//! The arguments of a request: its query, decoded as a form.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use crate::api::problem::{ApiError, Kind};

/// Arguments by name, in the order in which they came; one name may come several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Args(Vec<(String, String)>);

impl Args {
    pub(super) fn read(uri: &Uri) -> Result<Self, ApiError> {
        let read = Query::<Vec<(String, String)>>::try_from_uri(uri);
        read.map(|Query(pairs)| Args(pairs))
            .map_err(|error| ApiError::new(Kind::InvalidParameter, format!("the query can not be read: {error}")))
    }

    /// All values of one name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The first value of a name; one that is empty counts as not there.
    pub(super) fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// A value that must be there.
    pub(super) fn needed<'a>(&'a self, name: &'a str) -> Result<&'a str, ApiError> {
        self.text(name).ok_or_else(|| invalid(name, "is missing"))
    }

    /// A whole number. Python's `None` counts as not there.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let text = self.text(name).filter(|text| *text != "None" && *text != "null");
        let read =
            |text: &str| text.trim().parse().map_err(|_| invalid(name, format!("`{text}` is no number that can be")));
        text.map(read).transpose()
    }

    /// A switch as Python writes it, or as JSON does.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| ["true", "1"].contains(&text.to_ascii_lowercase().as_str()))
    }
}

/// An argument that can not be.
pub(super) fn invalid(name: &str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::InvalidParameter, format!("{name}: {problem}")).at(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Args {
        Args::read(&format!("/query/task?{query}").parse().expect("an address")).expect("arguments")
    }

    #[test]
    fn arguments_are_decoded_as_the_client_encodes_them() {
        let args = read("nb_name=my+job%7B%22a%22%7D&task_type=training&task_type=virtual&x=&a/b?c:d=%E4%BD%A0");
        assert_eq!(args.text("nb_name"), Some("my job{\"a\"}"));
        assert_eq!(args.all("task_type").collect::<Vec<_>>(), ["training", "virtual"]);
        assert_eq!(args.text("x"), None);
        assert_eq!(args.text("a/b?c:d"), Some("你"));
        // What is no UTF-8 is replaced, not refused: the token beside it must still be read.
        assert_eq!(read("nb_name=%FF").text("nb_name"), Some("\u{fffd}"));
    }

    #[test]
    fn numbers_and_switches_are_those_of_python() {
        let args = read("page=2&size=None&rank=-1&select_pods=False&star=True&far=99999999999999999999");
        assert_eq!(args.number::<u32>("page").expect("a number"), Some(2));
        assert_eq!(args.number::<u32>("size").expect("none"), None);
        assert!(args.number::<u32>("rank").is_err() && args.number::<u64>("far").is_err());
        assert!(!args.flag("select_pods") && args.flag("star") && !args.flag("other"));
    }
}
