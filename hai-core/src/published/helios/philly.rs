//! Microsoft's Philly as one more cluster of this family: the list that Sia's simulator ships, in the virtual clusters and
//! the window of Helios's artifact.
//!
//! Nothing was published of this: the artifact's own list holds more jobs. Its figures stand alone.

use std::io::Read;

use super::Window;
use crate::trace::{HeliosRow, Row, Table, TraceError, VirtualCluster};

/// How many seconds after the beginning of the list (2017-09-04 10:30:41) the window begins (2017-10-01 00:00:00).
const BEHIND: i64 = 2_294_959;
/// October and November 2017, to the last minute, from the beginning of the window on.
pub(super) const WINDOW: Window = Window { from: 0, until: 61 * 86_400 - 60 };
/// The virtual clusters of Helios's artifact, with the nodes that it gives them.
const CLUSTERS: [(&str, u32); 11] = [
    ("6214e9", 64),
    ("7f04ca", 32),
    ("11cb48", 16),
    ("b436b2", 64),
    ("ee9e8c", 64),
    ("e13805", 16),
    ("6c71a0", 32),
    ("2869ce", 16),
    ("ed69ec", 8),
    ("103959", 8),
    ("0e4a51", 32),
];

pub(super) fn clusters() -> Vec<VirtualCluster> {
    CLUSTERS.iter().map(|&(name, nodes)| VirtualCluster { name: name.into(), nodes }).collect()
}

/// Reads the jobs; their times count from the beginning of the window, so that minutes are minutes of the clock.
///
/// # Errors
/// A column is missing, or a number is none.
pub(super) fn rows(read: impl Read) -> Result<Vec<HeliosRow>, TraceError> {
    let mut table = Table::open(read, &["job_id", "vc", "submit_time", "num_gpus", "duration"])?;
    let mut rows = Vec::new();
    while let Some(row) = table.next_row() {
        rows.push(job(&row?, rows.len() as u64)?);
    }
    Ok(rows)
}

fn job(row: &Row<'_>, place: u64) -> Result<HeliosRow, TraceError> {
    let (submit, duration): (u32, u32) = (row.number("submit_time")?, row.number("duration")?);
    if duration == 0 {
        return Err(row.wrong("duration", "0 s: it must be at least 1 s"));
    }
    Ok(HeliosRow {
        row: place,
        number: row.number("job_id")?,
        user: row.text("vc").into(),
        vc: row.text("vc").into(),
        gpus: row.number("num_gpus")?,
        submit: i64::from(submit) - BEHIND,
        duration: i64::from(duration),
        predicted: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_window_and_a_broken_line_is_named() {
        let head = "job_id,src_row,vc,submit_time,num_gpus,duration\n";
        let read = |row: &str| rows(format!("{head}{row}").as_bytes());
        assert_eq!(read("3,9,6214e9,2294960,8,60\n").unwrap()[0].submit, 1);
        let wrong = read("3,9,6214e9,2294960,8,60\n4,9,6214e9,2294960,8,0\n").unwrap_err();
        assert_eq!(wrong.to_string(), "line 3, column duration: 0 s: it must be at least 1 s");
        assert!(read("3,9,6214e9,-5,8,60\n").unwrap_err().to_string().starts_with("line 2, column submit_time"));
    }
}
