//! Users: adding and removing them, and finding out who holds a token.

use hai_core::model::{Time, UserName};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use subtle::ConstantTimeEq as _;

use super::connect::{BEGIN, Writer};
use super::{SqliteError, rows};
use crate::store::account::token_hash;
use crate::store::{AccountError, Role, Token, User};

const FIND: &str = "SELECT name, role, created_at, disabled FROM users WHERE name = ?";
const LIST: &str = "SELECT name, role, created_at, disabled FROM users ORDER BY name";
const BY_TOKEN: &str = "SELECT name, role, created_at, disabled, token_hash FROM users WHERE token_hash = ?";
const SET: &str = "INSERT INTO users (name, role, token_hash, created_at, disabled) VALUES (?, ?, ?, ?, 0) \
                   ON CONFLICT (name) DO UPDATE SET role = excluded.role, token_hash = excluded.token_hash, disabled = 0";
const DISABLE: &str = "UPDATE users SET disabled = 1 WHERE name = ?";

/// Who may ask; cheap to clone. A change holds as soon as it returns.
#[derive(Clone, Debug)]
pub struct Accounts {
    writer: Writer,
    readers: SqlitePool,
}

impl Accounts {
    pub(super) fn new(writer: Writer, readers: SqlitePool) -> Self {
        Accounts { writer, readers }
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
    /// [`SqliteError`].
    pub async fn list(&self) -> Result<Vec<User>, SqliteError> {
        sqlx::query(LIST).fetch_all(&self.readers).await?.iter().map(user).collect()
    }

    /// Whose token this is; `None` if it is nobody's, or theirs who were removed.
    ///
    /// # Errors
    /// [`SqliteError`].
    pub async fn authenticate(&self, token: &str) -> Result<Option<User>, SqliteError> {
        let Some(hash) = token_hash(token) else { return Ok(None) };
        let row = sqlx::query(BY_TOKEN).bind(hash.to_vec()).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(None) };
        let stored: &[u8] = row.try_get(4)?;
        let user = user(&row)?;
        Ok((bool::from(stored.ct_eq(&hash)) && !user.disabled).then_some(user))
    }

    /// Asks `decide` what to do, given the user of that name unless there is none or they were removed, and does it.
    async fn change<'a>(
        &self,
        name: &UserName,
        decide: impl FnOnce(Option<User>) -> Result<Option<Change<'a>>, AccountError> + Send,
    ) -> Result<(), AccountError> {
        let mut lent = self.writer.lend().await?;
        let mut transaction = lent.connection.begin_with(BEGIN).await.map_err(SqliteError::from)?;
        let user = find(&mut transaction, name).await?;
        let decided = decide(user.filter(|user| !user.disabled));
        if let Ok(Some(change)) = &decided {
            apply(&mut transaction, name, change).await?;
        }
        transaction.commit().await.map_err(SqliteError::from)?;
        lent.give_back();
        decided.map(drop)
    }
}

enum Change<'a> {
    Token(Role, &'a Token),
    Disable,
}

async fn find(connection: &mut SqliteConnection, name: &UserName) -> Result<Option<User>, SqliteError> {
    let row = sqlx::query(FIND).bind(name.as_str().to_owned()).fetch_optional(connection).await?;
    row.as_ref().map(user).transpose()
}

async fn apply(connection: &mut SqliteConnection, name: &UserName, change: &Change<'_>) -> Result<(), SqliteError> {
    let name = name.as_str().to_owned();
    let query = match change {
        Change::Disable => sqlx::query(DISABLE).bind(name),
        Change::Token(role, token) => {
            let hash = token_hash(token.as_str()).map(Vec::from);
            let now = Time::from(chrono::Utc::now());
            sqlx::query(SET).bind(name).bind(role.word()).bind(hash).bind(now.as_ms())
        }
    };
    query.execute(connection).await?;
    Ok(())
}

/// A user from the columns `name, role, created_at, disabled`.
fn user(row: &SqliteRow) -> Result<User, SqliteError> {
    let name: &str = row.try_get(0)?;
    let role: &str = row.try_get(1)?;
    Ok(User {
        name: UserName::new(name).map_err(|problem| rows::damaged("users", name, problem))?,
        role: Role::from_word(role)
            .ok_or_else(|| rows::damaged("users", name, format!("there is no role {role:?}")))?,
        created_at: Time::from_ms(row.try_get(2)?),
        disabled: row.try_get::<i64, _>(3)? != 0,
    })
}
