//! What a log adds up to.
