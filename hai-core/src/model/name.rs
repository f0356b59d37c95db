//! Names of users, teams, groups, nodes, places, devices and device models: checked once, cheap to copy.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text can not be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Longer than 253 bytes.
    #[error("{what} has {len} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// How long it was, in bytes.
        len: usize,
    },
    /// A character that the kind of name does not allow.
    #[error("{what} {name:?} has {found:?} in it; allowed are {allowed}")]
    BadCharacter {
        /// Which kind of name.
        what: &'static str,
        /// The offending text.
        name: String,
        /// The first offending character.
        found: char,
        /// The characters that are allowed, in words.
        allowed: &'static str,
    },
}

const PLAIN: &str = "letters, digits and - _ . @";
const PRINTABLE: &str = "printable characters";

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 253;

fn check(what: &'static str, allowed: &'static str, ok: fn(char) -> bool, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, len: text.len() });
    }
    match text.chars().find(|c| !ok(*c)) {
        Some(found) => Err(NameError::BadCharacter { what, name: text.to_owned(), found, allowed }),
        None => Ok(()),
    }
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@')
}

fn printable(c: char) -> bool {
    !c.is_control()
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:expr, $ok:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// [`NameError`] if it is empty, longer than 253 bytes or has a character that is not allowed.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check($what, $allowed, $ok, text)?;
                Ok($type(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $type::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $type::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A person (or robot) who submits tasks.
    UserName, "a user name", PLAIN, plain
);
name!(
    /// A named set of machines that tasks ask for.
    GroupName, "a group name", PLAIN, plain
);
name!(
    /// A machine.
    NodeName, "a node name", PLAIN, plain
);
name!(
    /// One device's UUID, unique in the cluster, e.g. `GPU-8f6d…`.
    DeviceId, "a device id", PRINTABLE, printable
);
name!(
    /// A device's model, e.g. `RTX 3070`.
    ModelName, "a device model", PRINTABLE, printable
);
name!(
    /// The profile of a MIG slice, e.g. `1g.5gb`.
    MigProfile, "a MIG profile", PLAIN, plain
);
name!(
    /// A set of users who share rights.
    TeamName, "a team name", PLAIN, plain
);
name!(
    /// A place in the network: a leaf or spine switch, or a zone.
    PlaceName, "a place name", PRINTABLE, printable
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_wrong_with_it() {
        assert_eq!(UserName::new("").unwrap_err().to_string(), "a user name is empty");
        assert!(UserName::new("a\nb").unwrap_err().to_string().contains(PLAIN));
        assert!(ModelName::new("a\u{1b}b").unwrap_err().to_string().contains(PRINTABLE));
        assert!(GroupName::new("x".repeat(300)).unwrap_err().to_string().contains("300 bytes"));
        assert_eq!(GroupName::new("a-b").expect("hyphens are fine").as_str(), "a-b");
    }
}
