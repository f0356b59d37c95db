//! Many rows with few statements: a round trip to SQLite costs more than the row that it carries.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteArguments;

use crate::store::StoreError;

/// How many rows one statement takes. A few fixed sizes, so that each is prepared once and kept.
const ROWS_AT_ONCE: [usize; 3] = [64, 8, 1];

/// An `INSERT` statement, for each number of rows that it can take at once.
#[derive(Debug)]
pub(super) struct Insert {
    statements: [String; ROWS_AT_ONCE.len()],
}

impl Insert {
    /// `head` goes up to and with `VALUES`, `tail` is what to do on a conflict.
    pub(super) fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        Insert { statements: ROWS_AT_ONCE.map(|rows| format!("{head} {} {tail}", vec![row.as_str(); rows].join(","))) }
    }

    /// Inserts all of `items`, in order; `bind` adds one row's columns.
    pub(super) async fn all<T>(
        &'static self,
        connection: &mut SqliteConnection,
        mut items: &[T],
        bind: impl Fn(&T, &mut SqliteArguments) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (rows, statement) in ROWS_AT_ONCE.into_iter().zip(&self.statements) {
            while let Some((now, later)) = items.split_at_checked(rows) {
                if now.is_empty() {
                    break;
                }
                let mut arguments = SqliteArguments::default();
                for item in now {
                    bind(item, &mut arguments)?;
                }
                sqlx::query_with(statement.as_str(), arguments).execute(&mut *connection).await?;
                items = later;
            }
        }
        Ok(())
    }
}
