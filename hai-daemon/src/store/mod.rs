//! What is kept on disk: the engine's log, what people read of it, and who may ask.
//!
//! [`SqliteStore`] keeps it in a file, [`PostgresStore`] on a server, with one contract; [`AnyStore`] is either. Both are the
//! scheduler's `Store`, and hand out [`Reader`]s for doors that show tasks and [`Accounts`] for doors that check who is there,
//! which do not tell which of the two they ask.

mod account;
mod accounts;
mod any;
mod check;
mod ended;
mod error;
mod health;
mod history;
mod known;
mod month;
pub mod moving;
mod patient;
pub mod postgres;
mod query;
mod questions;
mod reader;
mod rows;
mod select;
pub mod sqlite;
mod thin;

pub use account::{AccountError, Role, Token, User};
pub use accounts::Accounts;
pub use any::AnyStore;
pub use check::{Checked, check};
pub use error::StoreError;
pub use health::StoreHealth;
pub use history::{Gone, History};
pub use moving::{Frozen, Restoring};
pub(crate) use patient::change_users;
pub use patient::{Patience, Patient};
pub use postgres::PostgresStore;
pub use query::{Counts, Page, TaskFilter, TaskPage};
pub use reader::Reader;
pub use sqlite::SqliteStore;
