//! Comma-separated rows under a line of column names.

use std::fmt::Display;
use std::io::{self, Read};
use std::str::FromStr;

use super::TraceError;

/// A file of comma-separated values (RFC 4180) whose first line names the columns.
#[derive(Debug)]
pub struct Table<R> {
    rows: csv::Reader<Bounded<R>>,
    columns: Vec<String>,
    record: csv::StringRecord,
    broken: bool,
}

/// Longer rows are no rows: a quote that is never closed would take in all that is left of the file.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Reads no more than is allowed for one row.
#[derive(Debug)]
struct Bounded<R> {
    read: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "it is longer than {ROW_BYTES_MAX} bytes, as if a quote were never closed; nothing behind it is read"
            )));
        }
        let many = into.len().min(self.left);
        let read = self.read.read(&mut into[..many])?;
        self.left -= read;
        Ok(read)
    }
}

/// One row of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    record: &'a csv::StringRecord,
    line: u64,
}

impl<R: Read> Table<R> {
    /// Reads the column names and checks that these are among them.
    ///
    /// # Errors
    /// The file can not be read, or a column is missing.
    pub fn open(read: R, needed: &[&str]) -> Result<Self, TraceError> {
        let read = Bounded { read, left: ROW_BYTES_MAX };
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(read);
        let columns: Vec<String> = rows.headers().map_err(|error| wrong(&error, 1))?.iter().map(String::from).collect();
        if let Some(missing) = needed.iter().find(|name| !columns.iter().any(|column| column == *name)) {
            let known =
                if columns.is_empty() { "it is empty".into() } else { format!("it has {}", columns.join(", ")) };
            return Err(TraceError::line(1, format!("the column {missing} is missing: {known}")));
        }
        Ok(Table { rows, columns, record: csv::StringRecord::new(), broken: false })
    }

    /// The column names, as they stand.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether there is such a column.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// The line on which the last row began, counted from 1.
    pub fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The row can not be read or has not as many fields as there are columns. Reading goes on behind it.
    pub fn next_row(&mut self) -> Option<Result<Row<'_>, TraceError>> {
        if self.broken {
            return None;
        }
        let line = self.rows.position().line();
        self.rows.get_mut().left = ROW_BYTES_MAX;
        match self.rows.read_record(&mut self.record) {
            Ok(true) => {
                let line = self.record.position().map_or(0, csv::Position::line);
                Some(Ok(Row { columns: &self.columns, record: &self.record, line }))
            }
            Ok(false) => None,
            Err(error) if error.is_io_error() => {
                // Nothing more can be expected from a file that can not be read.
                self.broken = true;
                Some(Err(wrong(&error, line)))
            }
            Err(error) => Some(Err(wrong(&error, self.rows.position().line()))),
        }
    }
}

impl<'a> Row<'a> {
    /// Its line in the file, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What stands in a column, `""` where there is no such column.
    #[must_use]
    pub fn text(&self, column: &str) -> &'a str {
        let at = self.columns.iter().position(|name| name == column);
        at.and_then(|at| self.record.get(at)).unwrap_or("")
    }

    /// A number in a column.
    ///
    /// # Errors
    /// It is none, or out of range.
    pub fn number<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, TraceError> {
        let text = self.text(column);
        text.parse().map_err(|error| self.wrong(column, format!("{text:?} is no number that will do: {error}")))
    }

    /// A number in a column that may be empty.
    ///
    /// # Errors
    /// As [`Row::number`].
    pub fn number_if_any<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, TraceError> {
        if self.text(column).is_empty() { Ok(None) } else { self.number(column).map(Some) }
    }

    /// A mistake in a column of this row.
    pub fn wrong(&self, column: &str, what: impl Into<String>) -> TraceError {
        TraceError::column(self.line, column, what)
    }
}

fn wrong(error: &csv::Error, line: u64) -> TraceError {
    let line = error.position().map_or(line, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, and the line of column names has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".into(),
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    TraceError::line(line, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_line_and_column_and_reading_goes_on() {
        let text = "name,gpus\na,1\nb,x\nc\nd,4\n";
        let mut table = Table::open(text.as_bytes(), &["name", "gpus"]).unwrap();
        let mut read = Vec::new();
        while let Some(row) = table.next_row() {
            read.push(row.and_then(|row| row.number::<u32>("gpus")).map_err(|error| error.to_string()));
        }
        let no_number = "line 3, column gpus: \"x\" is no number that will do: invalid digit found in string";
        let too_short = "line 4: it has 1 fields, and the line of column names has 2";
        assert_eq!(read, [Ok(1), Err(no_number.into()), Err(too_short.into()), Ok(4)]);
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_reading_before_it_fills_the_memory() {
        let text = format!("name,gpus\na,1\nb,\"{}", "c,2\n".repeat(1 << 20));
        let mut read = text.as_bytes();
        let mut table = Table::open(&mut read, &["name", "gpus"]).unwrap();
        assert_eq!(table.next_row().unwrap().unwrap().text("name"), "a");
        let error = table.next_row().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("line 3: it is longer than 1048576 bytes"), "{error}");
        assert!(table.next_row().is_none());
        assert!(read.len() > 2 << 20);
        // What is long all together, and short row by row, is read to its end.
        let many = format!("name,gpus\n{}", "c,2\n".repeat(1 << 19));
        let mut table = Table::open(many.as_bytes(), &["name"]).unwrap();
        assert_eq!(std::iter::from_fn(|| table.next_row().map(|row| row.unwrap().line())).count(), 1 << 19);
    }

    #[test]
    fn a_missing_column_is_named_beside_those_there_are() {
        let error = Table::open("name,gpu\n".as_bytes(), &["name", "gpus"]).unwrap_err();
        assert_eq!(error.to_string(), "line 1: the column gpus is missing: it has name, gpu");
        let error = Table::open("".as_bytes(), &["name"]).unwrap_err();
        assert_eq!(error.to_string(), "line 1: the column name is missing: it is empty");
    }
}
