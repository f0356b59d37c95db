//! All that is kept, as a stream of pieces: out of one store, into a file or another store, and back.
//!
//! [`Frozen`] is a store at one moment and gives its pieces; [`Restoring`] takes pieces into a store, all or nothing;
//! [`BackupWriter`] and [`BackupReader`] put a file between the two. None of them knows what tables there are: pieces are the
//! plain data of the contract, so that a backup of one kind of database is restored into the other.

mod file;
mod found;
mod frozen;
mod piece;
mod restoring;

pub use file::{BackupError, BackupReader, BackupWriter};
pub use found::Found;
pub use frozen::Frozen;
pub(in crate::store) use frozen::More;
pub use piece::{Header, Kind, Piece, StoredUser, Tally};
pub(in crate::store) use restoring::Target;
pub use restoring::{RestoreError, Restoring};
