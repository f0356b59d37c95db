//! What is kept on disk: the engine's log, what people read of it, and who may ask.
//!
//! See [`SqliteStore`] for the primary entry point: it is the scheduler's `Store`, and hands out [`Reader`]s for doors
//! that show tasks and [`Accounts`] for doors that check who is there.

mod account;
mod patient;
mod query;
pub mod sqlite;

pub use account::{AccountError, Role, Token, User};
pub use patient::Patient;
pub use query::{Counts, Page, TaskFilter, TaskPage};
pub use sqlite::{Accounts, Reader, SqliteError, SqliteStore};
