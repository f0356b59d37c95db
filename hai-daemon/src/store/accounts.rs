//! Users: adding and removing them, and finding out who holds a token, in whichever database they are.

use hai_core::model::UserName;
use std::time::Instant;

use subtle::ConstantTimeEq as _;

use super::account::{TokenHash, token_hash};
use super::known::Known;
use super::{AccountError, Role, StoreError, Token, User, postgres, sqlite};

/// Who may ask; cheap to clone. A change holds as soon as it returns; one that another program makes in the same database,
/// a second later.
#[derive(Clone, Debug)]
pub struct Accounts {
    users: Users,
    known: Known,
}

#[derive(Clone, Debug)]
pub(super) enum Users {
    Sqlite(sqlite::Users),
    Postgres(postgres::Users),
}

/// What is to become of a user.
pub(super) enum Change<'a> {
    /// They have this role, and this token alone opens.
    Token(Role, &'a Token),
    /// No token of theirs opens any more.
    Disable,
}

impl From<sqlite::Users> for Users {
    fn from(users: sqlite::Users) -> Self {
        Users::Sqlite(users)
    }
}

impl From<postgres::Users> for Users {
    fn from(users: postgres::Users) -> Self {
        Users::Postgres(users)
    }
}

impl Accounts {
    /// All accounts of one store must share what is `known`.
    pub(super) fn new(users: impl Into<Users>, known: Known) -> Self {
        Accounts { users: users.into(), known }
    }

    /// Adds a user and returns their token. The name of somebody who was removed may be given again: whoever gets it
    /// owns the tasks that carry it.
    ///
    /// # Errors
    /// [`AccountError::Exists`] if there is such a user; otherwise as [`AccountError`] says.
    pub async fn add(&self, name: &UserName, role: Role) -> Result<Token, AccountError> {
        let token = Token::random()?;
        self.change(name, |user| match user {
            Some(_) => Err(AccountError::Exists { name: name.clone() }),
            None => Ok(Some(Change::Token(role, &token))),
        })
        .await?;
        Ok(token)
    }

    /// Adds a user whose token somebody else made.
    ///
    /// # Errors
    /// [`AccountError::Exists`] if there is such a user, or another has that token; otherwise as [`AccountError`] says.
    pub async fn add_given(&self, name: &UserName, role: Role, token: &Token) -> Result<(), AccountError> {
        if self.authenticate(token.as_str()).await?.is_some() {
            return Err(AccountError::Exists { name: name.clone() });
        }
        self.change(name, |user| match user {
            Some(_) => Err(AccountError::Exists { name: name.clone() }),
            None => Ok(Some(Change::Token(role, token))),
        })
        .await
    }

    /// Gives a user a new token; the old one opens nothing any more.
    ///
    /// # Errors
    /// [`AccountError::Unknown`] if there is no such user; otherwise as [`AccountError`] says.
    pub async fn rotate(&self, name: &UserName) -> Result<Token, AccountError> {
        let token = Token::random()?;
        self.change(name, |user| match user {
            Some(user) => Ok(Some(Change::Token(user.role, &token))),
            None => Err(AccountError::Unknown { name: name.clone() }),
        })
        .await?;
        Ok(token)
    }

    /// Takes a user's token away. Their tasks go on.
    ///
    /// # Errors
    /// [`AccountError::Unknown`] if there is no such user; otherwise as [`AccountError`] says.
    pub async fn remove(&self, name: &UserName) -> Result<(), AccountError> {
        self.change(name, |user| match user {
            Some(_) => Ok(Some(Change::Disable)),
            None => Err(AccountError::Unknown { name: name.clone() }),
        })
        .await
    }

    /// Sees to it that `name` is an operator: adds them, brings them back or raises them, with a new token, which is
    /// returned. `None` if they are one already.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn ensure_operator(&self, name: &UserName) -> Result<Option<Token>, AccountError> {
        let token = Token::random()?;
        let mut there = false;
        self.change(name, |user| {
            there = user.is_some_and(|user| user.role == Role::Operator);
            Ok((!there).then_some(Change::Token(Role::Operator, &token)))
        })
        .await?;
        Ok((!there).then_some(token))
    }

    /// Sees to it that `name` is an agent whose token is this one.
    ///
    /// # Errors
    /// [`AccountError::Exists`] if the name is that of a user or an operator; otherwise as [`AccountError`] says.
    pub async fn ensure_agent(&self, name: &UserName, token: &Token) -> Result<(), AccountError> {
        self.change(name, |user| match user {
            Some(user) if user.role != Role::Agent => Err(AccountError::Exists { name: name.clone() }),
            Some(_) | None => Ok(Some(Change::Token(Role::Agent, token))),
        })
        .await
    }

    /// All users by name, those who were removed included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<User>, StoreError> {
        match &self.users {
            Users::Sqlite(users) => users.list().await,
            Users::Postgres(users) => users.list().await,
        }
    }

    /// Whose token this is; `None` if it is nobody's, or theirs who were removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn authenticate(&self, token: &str) -> Result<Option<User>, StoreError> {
        match Self::hash(token) {
            Some(hash) => self.by_hash(&hash).await,
            None => Ok(None),
        }
    }

    /// What may be kept of a token in its place; `None` if it can not be one.
    #[must_use]
    pub fn hash(token: &str) -> Option<TokenHash> {
        token_hash(token).map(TokenHash)
    }

    /// Whose token it is that has this hash, as [`Accounts::authenticate`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_hash(&self, hash: &TokenHash) -> Result<Option<User>, StoreError> {
        let hash = hash.0;
        let asked = match self.known.find(&hash, Instant::now()) {
            Ok(user) => return Ok(Some(user)),
            Err(asked) => asked,
        };
        let found = match &self.users {
            Users::Sqlite(users) => users.by_token(hash).await?,
            Users::Postgres(users) => users.by_token(hash).await?,
        };
        let found = found.filter(|(user, stored)| bool::from(stored.ct_eq(&hash)) && !user.disabled);
        if let Some((user, _)) = &found {
            self.known.remember(asked, hash, user);
        }
        Ok(found.map(|(user, _)| user))
    }

    /// Asks `decide` what to do, given the user of that name unless there is none or they were removed, and does it.
    async fn change<'a>(
        &self,
        name: &UserName,
        decide: impl FnOnce(Option<User>) -> Result<Option<Change<'a>>, AccountError> + Send,
    ) -> Result<(), AccountError> {
        let _changing = self.known.changing();
        match &self.users {
            Users::Sqlite(users) => users.change(name, decide).await,
            Users::Postgres(users) => users.change(name, decide).await,
        }
    }
}
