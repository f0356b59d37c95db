//! Where the database is, with a password that is not told by accident.

use std::fmt;

use super::value::{Raw, Setting, quoted};

/// What stands for a password.
const HIDDEN: &str = "***";
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The URL of a Postgres database, `postgres://user@host/database`. Shown, printed and compared without its password; the
/// whole of it is [`DatabaseUrl::secret`].
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL with its password, for who connects.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Without the password, so that what is shown reads back as the same.
impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        masked(&self.0) == masked(&other.0)
    }
}

impl Eq for DatabaseUrl {}

impl Setting for DatabaseUrl {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        // Whatever it is, it may hold a password: it is not repeated.
        let expected = || "expected `postgres://user@host/database`, found something else".to_owned();
        let text = match raw {
            Raw::Text(text) => text,
            Raw::Toml(_) => raw.text("the URL of a database in quotes")?,
        };
        let plain = !text.contains(|c: char| c.is_control() || c.is_whitespace());
        let known = SCHEMES.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
        if plain && known { Ok(DatabaseUrl(text.to_owned())) } else { Err(expected()) }
    }
    fn show(&self) -> String {
        quoted(&masked(&self.0))
    }
}

/// Hides rather too much than too little: what is between the first colon and the last at-sign, and in the query all that
/// calls itself a password.
fn masked(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(begin);
    let rest = match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{}:{HIDDEN}{}", &rest[..colon], &rest[at..]),
        _ => rest.to_owned(),
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}{rest}") };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if key.to_ascii_lowercase().contains("password") || key.contains('%') => {
            format!("{key}={HIDDEN}")
        }
        _ => pair.to_owned(),
    });
    format!("{scheme}{place}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_the_rest_is_shown() {
        for (url, shown) in [
            ("postgres://hai@db.lab/hai", "postgres://hai@db.lab/hai"),
            ("postgres://hai:s3cr3t@db.lab:5432/hai", "postgres://hai:***@db.lab:5432/hai"),
            ("postgresql://hai:s3/c:r@3t@db.lab/hai", "postgresql://hai:***@db.lab/hai"),
            ("postgres://db.lab:5432/hai?sslmode=require", "postgres://db.lab:5432/hai?sslmode=require"),
            ("postgres://db.lab/hai?user=a&password=s3cr3t&x=1", "postgres://db.lab/hai?user=a&password=***&x=1"),
            ("postgres://db.lab/hai?p%61ssword=s3cr3t", "postgres://db.lab/hai?p%61ssword=***"),
        ] {
            let read = DatabaseUrl::read(Raw::Text(url)).expect(url);
            assert_eq!((read.to_string().as_str(), read.secret()), (shown, url));
            assert!(!format!("{read:?} {}", read.show()).contains("s3"), "{read:?}");
            assert_eq!(DatabaseUrl::read(Raw::Text(shown)).expect(shown), read);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_repeated() {
        for wrong in ["", "postgres://", "mysql://ann:s3cr3t@h/d", "ann:s3cr3t@h", "postgres://ann:s3cr3t@h /d"] {
            let refused = DatabaseUrl::read(Raw::Text(wrong)).expect_err(wrong);
            assert!(refused.contains("postgres://user@host") && !refused.contains("s3cr3t"), "{refused}");
        }
    }
}
