//! The traces of Muri (Y. Zhao et al., SIGCOMM 2022): jobs of Philly's virtual clusters with models given to them.

use std::io::Read;

use super::{Row, Table, TraceError};

/// A job of one of Muri's traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MuriRow {
    /// Its number: the column `job_id`.
    pub number: u64,
    /// How many devices it holds. At least 1.
    pub gpus: u32,
    /// When it was submitted, in milliseconds.
    pub submit_ms: u64,
    /// How many iterations it makes. At least 1.
    pub iterations: u64,
    /// What it trains.
    pub model: String,
    /// How long an iteration takes when it runs alone, in milliseconds. At least 1.
    pub iteration_ms: u64,
}

/// Jobs of one of Muri's traces, one after the other.
#[derive(Debug)]
pub struct MuriTrace<R> {
    table: Table<R>,
}

impl<R: Read> MuriTrace<R> {
    /// The line of the row that was read last, counted from 1.
    pub fn line(&self) -> u64 {
        self.table.line()
    }

    /// Begins to read.
    ///
    /// # Errors
    /// A column is missing, or nothing can be read.
    pub fn open(read: R) -> Result<Self, TraceError> {
        let needed = ["job_id", "num_gpu", "submit_time", "iterations", "model_name", "iteration_time"];
        Ok(MuriTrace { table: Table::open(read, &needed)? })
    }
}

impl<R: Read> Iterator for MuriTrace<R> {
    type Item = Result<MuriRow, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.table.next_row()?;
        Some(row.and_then(|row| {
            Ok(MuriRow {
                number: row.number("job_id")?,
                gpus: u32::try_from(within(&row, "num_gpu", 1, u64::from(u32::MAX))?).unwrap_or(u32::MAX),
                submit_ms: within(&row, "submit_time", 0, 1 << 50)?,
                iterations: within(&row, "iterations", 1, 1 << 50)?,
                model: row.text("model_name").into(),
                iteration_ms: within(&row, "iteration_time", 1, 1 << 40)?,
            })
        }))
    }
}

fn within(row: &Row<'_>, column: &str, least: u64, most: u64) -> Result<u64, TraceError> {
    let value: u64 = row.number(column)?;
    if !(least..=most).contains(&value) {
        return Err(row.wrong(column, format!("{value} is not between {least} and {most}")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_named_and_the_others_are_read() {
        let text = "job_id,num_gpu,submit_time,iterations,model_name,iteration_time\n\
                    0,4,0,100,bert,190\n1,0,5,100,bert,190\n2,1,5,100,bert,0.5\n3,1\n4,8,7,9,a2c,1\n";
        let read: Vec<_> = MuriTrace::open(text.as_bytes()).unwrap().collect();
        let wrong: Vec<_> = read.iter().filter_map(|row| row.as_ref().err().map(ToString::to_string)).collect();
        assert_eq!(
            wrong,
            [
                "line 3, column num_gpu: 0 is not between 1 and 4294967295",
                "line 4, column iteration_time: \"0.5\" is no number that will do: invalid digit found in string",
                "line 5: it has 2 fields, and the line of column names has 6",
            ]
        );
        assert_eq!(read.iter().filter_map(|row| row.as_ref().ok()).map(|row| row.number).collect::<Vec<_>>(), [0, 4]);
    }
}
