//! Who of several daemons on one database leads: whose name stands in a row that expires unless it is renewed.

use std::time::Duration;

use sqlx::{PgExecutor, PgPool, Row};
use tokio::time::timeout;

use crate::store::StoreError;

/// How long a leader that says nothing still leads.
pub const LEAD: Duration = Duration::from_secs(6);
/// Longer than a server that is well takes.
const ANSWER_MAX: Duration = Duration::from_secs(3);

// All by the server's clock. A row that would hold for much longer than anybody ever asked for was written before that clock
// was set back: waiting for it could take hours.
const ASK: &str = "INSERT INTO leader (id, holder, address, expires_at) \
    VALUES (1, $1, $2, clock_timestamp() + $3 * interval '1 millisecond') \
    ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, address = excluded.address, expires_at = excluded.expires_at \
    WHERE leader.holder = excluded.holder OR leader.expires_at < clock_timestamp() \
    OR leader.holder = $4 OR leader.expires_at > clock_timestamp() + 2 * $3 * interval '1 millisecond' \
    RETURNING id";
const LEADER: &str = "SELECT address, holder FROM leader";
const PRESENT: &str = "SELECT address FROM leader WHERE expires_at >= clock_timestamp() \
    AND expires_at <= clock_timestamp() + 2 * $1 * interval '1 millisecond'";
const GIVE_UP: &str = "DELETE FROM leader WHERE holder = $1";

fn lead_ms() -> i64 {
    i64::try_from(LEAD.as_millis()).unwrap_or(i64::MAX)
}

/// Where the one who leads can be reached; `None` if nobody leads.
pub(super) async fn present(connection: impl PgExecutor<'_>) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(PRESENT).bind(lead_ms()).fetch_optional(connection).await?)
}

/// One who leads, or would.
#[derive(Clone, Debug)]
pub struct Candidate {
    pool: PgPool,
    holder: String,
    address: String,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads for [`LEAD`] from when it began to ask.
    Leads,
    /// Another does.
    Follows {
        /// Where that one can be reached.
        leader: String,
        /// Who that is, as it calls itself.
        holder: String,
    },
}

impl Candidate {
    pub(super) fn new(pool: PgPool, holder: String, address: String) -> Self {
        Candidate { pool, holder, address }
    }

    /// Takes the lead if nobody has it, or `gone` has, and keeps it if it has it already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ask(&self, gone: Option<&str>) -> Result<Standing, StoreError> {
        timeout(ANSWER_MAX, self.asked(gone)).await.map_err(|_| StoreError::Silent(ANSWER_MAX))?
    }

    async fn asked(&self, gone: Option<&str>) -> Result<Standing, StoreError> {
        let ask = sqlx::query(ASK).bind(&self.holder).bind(&self.address).bind(lead_ms()).bind(gone);
        if ask.fetch_optional(&self.pool).await?.is_some() {
            return Ok(Standing::Leads);
        }
        let row = sqlx::query(LEADER).fetch_optional(&self.pool).await?;
        // Whoever it was may have given up meanwhile: the next time tells.
        let Some(row) = row else { return Ok(Standing::Follows { leader: String::new(), holder: String::new() }) };
        Ok(Standing::Follows { leader: row.try_get(0)?, holder: row.try_get(1)? })
    }

    /// Lets another lead at once.
    ///
    /// # Errors
    /// [`StoreError`]; then it expires by itself.
    pub async fn give_up(&self) -> Result<(), StoreError> {
        let gone = timeout(ANSWER_MAX, sqlx::query(GIVE_UP).bind(&self.holder).execute(&self.pool)).await;
        gone.map_err(|_| StoreError::Silent(ANSWER_MAX))??;
        Ok(())
    }
}
