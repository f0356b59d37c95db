//! What a program hears of another's commits: Postgres wakes whoever listens.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use super::connect::ANSWER_MAX;
use crate::store::StoreError;

/// After so long in silence the connection is looked at: one that was cut without a word hears nothing either.
const SILENCE_MAX: Duration = Duration::from_secs(10);

// Channels are the whole database's, and schemas in it are separate stores.
macro_rules! channel {
    () => {
        "'hai_events_' || quote_ident(current_schema())::regnamespace::oid"
    };
}
pub(super) use channel;
const CHANNEL: &str = concat!("SELECT ", channel!());

/// Hears when events are committed, by whichever program.
#[derive(Debug)]
pub struct Heard {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl Heard {
    pub(super) fn new(pool: PgPool) -> Self {
        Heard { pool, listener: None }
    }

    /// Returns when there may be events after number `last`: when one was told, whenever it begins to listen, since nobody
    /// knows what was told before, and once in a while. So who then reads on from `last`, and comes again, misses nothing.
    ///
    /// # Errors
    /// [`StoreError`]; the next call begins to listen anew.
    pub async fn more_than(&mut self, last: u64) -> Result<(), StoreError> {
        // It is put back only if all went well.
        let Some(mut listener) = self.listener.take() else {
            let begun = timeout(ANSWER_MAX, listen(&self.pool)).await;
            self.listener = Some(begun.map_err(|_| StoreError::Silent(ANSWER_MAX))??);
            return Ok(());
        };
        loop {
            match timeout(SILENCE_MAX, listener.try_recv()).await {
                // A number that is none is from somebody else's hand: better to look once too often.
                Ok(Ok(Some(told))) if told.payload().parse::<u64>().is_ok_and(|told| told <= last) => {}
                Ok(Ok(Some(_))) => break,
                Ok(Ok(None)) => {
                    return Err(sqlx::Error::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)).into());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let alive = timeout(ANSWER_MAX, sqlx::query("SELECT 1").execute(&mut listener)).await;
                    alive.map_err(|_| StoreError::Silent(ANSWER_MAX))??;
                    break;
                }
            }
        }
        self.listener = Some(listener);
        Ok(())
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    // A connection that is made again behind our back would hide that something was missed.
    listener.eager_reconnect(false);
    let channel: String = sqlx::query_scalar(CHANNEL).fetch_one(&mut listener).await?;
    listener.listen(&channel).await?;
    Ok(listener)
}
