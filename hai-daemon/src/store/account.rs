//! Users and the tokens that prove who they are.

use std::fmt;

use hai_core::model::{Time, UserName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::StoreError;

const PREFIX: &str = "hai_";
const SECRET_BYTES: usize = 32;

/// What a user may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own tasks.
    User,
    /// Everything.
    Operator,
    /// Nothing but to report the devices of nodes.
    Agent,
}

/// Somebody who has, or had, a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub name: UserName,
    /// What they may touch.
    pub role: Role,
    /// When they were added.
    pub created_at: Time,
    /// They were removed: their token opens nothing any more. The name stays, as tasks carry it.
    pub disabled: bool,
}

/// A secret of 256 random bits that proves who somebody is: `hai_` and 64 hexadecimal digits. It is shown once, when
/// it is made; only its SHA-256 is kept. It can not be printed by accident: see [`Token::as_str`].
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What is kept of a token: enough to know whose it is as long as it opens, and nothing that opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(pub(super) [u8; 32]);

/// Why an account could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name is taken.
    #[error("there is a user {name} already; give them a new token instead, or choose another name")]
    Exists {
        /// The name.
        name: UserName,
    },
    /// Nobody has the name, or they were removed.
    #[error("there is no user {name}; add them first")]
    Unknown {
        /// The name.
        name: UserName,
    },
    /// The operating system gave no random bits.
    #[error("no random bits for a token: {0}")]
    Random(#[from] getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Role {
    /// The role in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Operator => "operator",
            Role::Agent => "agent",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Role::User, Role::Operator, Role::Agent].into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gave no random bits.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Token(secret.iter().fold(PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}"))))
    }

    /// A token that somebody else made; `None` if it is not `hai_` and 64 hexadecimal digits.
    #[must_use]
    pub fn given(text: &str) -> Option<Self> {
        token_hash(text).map(|_| Token(text.to_owned()))
    }

    /// The secret itself, to show to its owner.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What is kept of a token; `None` if the text can not be one.
pub(super) fn token_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(PREFIX)?;
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 2 * SECRET_BYTES && digits.bytes().all(hexadecimal)).then(|| Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_are_well_formed_and_do_not_print() {
        let (one, other) = (Token::random().expect("random bits"), Token::random().expect("random bits"));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 4 + 64);
        assert!(token_hash(one.as_str()).is_some());
        assert_ne!(token_hash(one.as_str()), token_hash(other.as_str()));
        assert!(!format!("{one:?}").contains(&one.as_str()[4..]));
    }

    #[test]
    fn what_can_not_be_a_token_is_not_hashed() {
        let token = Token::random().expect("random bits");
        let text = token.as_str();
        for wrong in ["", "hai_", &text[..67], &format!("{text}0"), &text[4..], &text.to_uppercase(), " hai_é"] {
            assert_eq!(token_hash(wrong), None, "{wrong}");
        }
    }
}
