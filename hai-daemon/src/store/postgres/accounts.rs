//! The table of users: one change at a time, decided on what is there.

use hai_core::model::{Time, UserName};
use sqlx::{Connection, PgConnection, PgPool, Row};

use super::connect::{ANSWER_MAX, Lent, Writer, within};
use crate::store::account::token_hash;
use crate::store::accounts::Change;
use crate::store::{AccountError, StoreError, User, rows};

const FIND: &str = "SELECT name, role, created_at, disabled FROM users WHERE name = $1";
const LIST: &str = "SELECT name, role, created_at, disabled FROM users ORDER BY name";
const BY_TOKEN: &str = "SELECT name, role, created_at, disabled, token_hash FROM users WHERE token_hash = $1";
const SET: &str = "INSERT INTO users (name, role, token_hash, created_at, disabled) VALUES ($1, $2, $3, $4, 0) \
                   ON CONFLICT (name) DO UPDATE SET role = excluded.role, token_hash = excluded.token_hash, disabled = 0";
const DISABLE: &str = "UPDATE users SET disabled = 1 WHERE name = $1";
/// Keeps other changes out, also those of another daemon, of users that are not there yet; not those who read.
const LOCK: &str = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";

/// Reads and changes users; changes go through the one writing connection.
#[derive(Clone, Debug)]
pub(in crate::store) struct Users {
    writer: Writer,
    readers: PgPool,
}

impl Users {
    pub(super) fn new(writer: Writer, readers: PgPool) -> Self {
        Users { writer, readers }
    }

    pub(in crate::store) async fn list(&self) -> Result<Vec<User>, StoreError> {
        sqlx::query(LIST).fetch_all(&self.readers).await?.iter().map(rows::user).collect()
    }

    /// Whose token has this hash, and the hash that is stored.
    pub(in crate::store) async fn by_token(&self, hash: [u8; 32]) -> Result<Option<(User, Vec<u8>)>, StoreError> {
        let row = sqlx::query(BY_TOKEN).bind(hash.to_vec()).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((rows::user(&row)?, row.try_get(4)?)))
    }

    pub(in crate::store) async fn change<'a>(
        &self,
        name: &UserName,
        decide: impl FnOnce(Option<User>) -> Result<Option<Change<'a>>, AccountError> + Send,
    ) -> Result<(), AccountError> {
        let mut lent = self.writer.lend().await?;
        let decided = within(ANSWER_MAX, change(&mut lent, name, decide)).await??;
        lent.give_back();
        decided
    }
}

/// The inner error is what was decided: the connection is whole.
async fn change<'a>(
    lent: &mut Lent<'_>,
    name: &UserName,
    decide: impl FnOnce(Option<User>) -> Result<Option<Change<'a>>, AccountError> + Send,
) -> Result<Result<(), AccountError>, StoreError> {
    let mut transaction = lent.connection.begin().await?;
    sqlx::query(LOCK).execute(&mut *transaction).await?;
    let user = find(&mut transaction, name).await?;
    let decided = decide(user.filter(|user| !user.disabled));
    if let Ok(Some(change)) = &decided {
        apply(&mut transaction, name, change).await?;
    }
    transaction.commit().await?;
    Ok(decided.map(drop))
}

async fn find(connection: &mut PgConnection, name: &UserName) -> Result<Option<User>, StoreError> {
    let row = sqlx::query(FIND).bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(rows::user).transpose()
}

async fn apply(connection: &mut PgConnection, name: &UserName, change: &Change<'_>) -> Result<(), StoreError> {
    let name = name.as_str();
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
