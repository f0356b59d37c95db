//! What is wrong with a trace, and where.

use std::fmt;

/// What is wrong with a line of a trace. Which file it is in is known to whoever opened it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct TraceError {
    /// The line, counted from 1; 0 where the file as a whole is meant.
    pub line: u64,
    /// The column by its name, where one is to blame.
    pub column: Option<String>,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl TraceError {
    /// A mistake of a whole line.
    pub fn line(line: u64, what: impl Into<String>) -> Self {
        TraceError { line, column: None, what: what.into() }
    }

    /// A mistake in one column.
    pub fn column(line: u64, column: impl Into<String>, what: impl Into<String>) -> Self {
        TraceError { line, column: Some(column.into()), what: what.into() }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}", self.line)?;
            if self.column.is_some() {
                f.write_str(", ")?;
            }
        }
        if let Some(column) = &self.column {
            write!(f, "column {column}")?;
        }
        if self.line > 0 || self.column.is_some() {
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}
