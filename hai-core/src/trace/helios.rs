//! The trace of SenseTime's Helios clusters (HeliosData, CC-BY-4.0), and how large its virtual clusters are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::{Row, Table, TraceError};

/// A job of a Helios trace.
#[derive(Clone, Debug, PartialEq)]
pub struct HeliosRow {
    /// Where it stands among jobs of one second: the column `row`, or its place in the file.
    pub row: u64,
    /// Its number: the column `job_id`, or its place in the file.
    pub number: u64,
    /// Whose it is.
    pub user: String,
    /// Its virtual cluster.
    pub vc: String,
    /// How many devices it holds; 0 for a job of processors alone.
    pub gpus: u32,
    /// When it was submitted, in seconds since the trace began.
    pub submit: i64,
    /// How long it ran, in seconds. At least 1.
    pub duration: i64,
    /// How long it was predicted to run, in seconds: the column `predicted` or `pred_lgb`, where there is one.
    pub predicted: Option<f64>,
}

/// Jobs of a Helios trace, one after the other. Needs the columns `user`, `vc`, `gpu_num`, `submit_time` and `duration`.
#[derive(Debug)]
pub struct HeliosTrace<R> {
    table: Table<R>,
    place: u64,
}

impl<R: Read> HeliosTrace<R> {
    /// The line of the row that was read last, counted from 1.
    pub fn line(&self) -> u64 {
        self.table.line()
    }

    /// Begins to read.
    ///
    /// # Errors
    /// A column is missing, or nothing can be read.
    pub fn open(read: R) -> Result<Self, TraceError> {
        Ok(HeliosTrace { table: Table::open(read, &["user", "vc", "gpu_num", "submit_time", "duration"])?, place: 0 })
    }
}

impl<R: Read> Iterator for HeliosTrace<R> {
    type Item = Result<HeliosRow, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.table.next_row()?;
        let place = self.place;
        self.place += 1;
        Some(row.and_then(|row| job(&row, place)))
    }
}

fn job(row: &Row<'_>, place: u64) -> Result<HeliosRow, TraceError> {
    let duration = within(row, "duration", 1)?;
    let column = if row.text("predicted").is_empty() { "pred_lgb" } else { "predicted" };
    let predicted: Option<f64> = row.number_if_any(column)?;
    if predicted.is_some_and(|predicted| !predicted.is_finite()) {
        return Err(row.wrong(column, "it is no finite number of seconds"));
    }
    if row.text("vc").is_empty() {
        return Err(row.wrong("vc", "it is empty: every job belongs to a virtual cluster"));
    }
    Ok(HeliosRow {
        row: row.number_if_any("row")?.unwrap_or(place),
        number: row.number_if_any("job_id")?.unwrap_or(place),
        user: row.text("user").into(),
        vc: row.text("vc").into(),
        gpus: row.number("gpu_num")?,
        submit: within(row, "submit_time", 0)?,
        duration,
        predicted,
    })
}

/// Seconds in a column: not below `least`, and far from where sums of them could overflow.
fn within(row: &Row<'_>, column: &str, least: i64) -> Result<i64, TraceError> {
    let value: i64 = row.number(column)?;
    if !(least..=1 << 40).contains(&value) {
        return Err(row.wrong(column, format!("{value} s is not between {least} s and {} s", 1_i64 << 40)));
    }
    Ok(value)
}

/// How large a virtual cluster can be.
const MOST_NODES: u32 = 1_000_000;

/// A virtual cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualCluster {
    /// What it is called.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u32,
}

/// Reads how many nodes each virtual cluster has: rows of a name (in a column without one, or called `vc`) and a `num`.
///
/// # Errors
/// A column is missing, a number is none, or a name stands twice.
pub fn virtual_clusters(read: impl Read) -> Result<Vec<VirtualCluster>, TraceError> {
    let mut table = Table::open(read, &["num"])?;
    let mut clusters = Vec::new();
    let mut names = BTreeSet::new();
    while let Some(row) = table.next_row() {
        let row = row?;
        let name = if row.text("vc").is_empty() { row.text("") } else { row.text("vc") };
        if name.is_empty() {
            return Err(row.wrong("vc", "it is empty: the virtual cluster has no name"));
        }
        if !names.insert(name.to_owned()) {
            return Err(row.wrong("vc", format!("{name} stands here for the second time")));
        }
        let nodes = row.number("num")?;
        if nodes > MOST_NODES {
            return Err(row.wrong("num", format!("{nodes} nodes are more than {MOST_NODES}")));
        }
        clusters.push(VirtualCluster { name: name.into(), nodes });
    }
    Ok(clusters)
}

/// Reads predictions from a file of their own, in seconds by the number of the job.
///
/// The column `job_id` holds the number; the prediction is in `predicted`, `pred_lgb`, `pred` or `prediction`.
///
/// # Errors
/// A column is missing, or a number is none.
pub fn predictions(read: impl Read) -> Result<BTreeMap<u64, f64>, TraceError> {
    let mut table = Table::open(read, &["job_id"])?;
    let names = ["predicted", "pred_lgb", "pred", "prediction"];
    let Some(&column) = names.iter().find(|name| table.has(name)) else {
        return Err(TraceError::line(1, format!("it has none of the columns {}", names.join(", "))));
    };
    let mut predictions = BTreeMap::new();
    while let Some(row) = table.next_row() {
        let row = row?;
        let predicted: f64 = row.number(column)?;
        if !predicted.is_finite() {
            return Err(row.wrong(column, "it is no finite number of seconds"));
        }
        predictions.insert(row.number("job_id")?, predicted);
    }
    Ok(predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_named_and_the_others_are_read() {
        let text = "row,job_id,user,vc,gpu_num,submit_time,duration\n0,7,a,v,1,10,5\n1,8,a,v,x,10,5\n2,9,a,v,1,10,0\n\
                    3,9,a,,1,10,4\n4,9,a,v,1\n5,10,b,w,8,-3,9\n6,11,b,w,8,12,9223372036854775807\n7,12,b,w,8,12,9\n";
        let read: Vec<_> = HeliosTrace::open(text.as_bytes()).unwrap().collect();
        let wrong: Vec<_> = read.iter().filter_map(|row| row.as_ref().err().map(ToString::to_string)).collect();
        assert_eq!(
            wrong,
            [
                "line 3, column gpu_num: \"x\" is no number that will do: invalid digit found in string",
                "line 4, column duration: 0 s is not between 1 s and 1099511627776 s",
                "line 5, column vc: it is empty: every job belongs to a virtual cluster",
                "line 6: it has 5 fields, and the line of column names has 7",
                "line 7, column submit_time: -3 s is not between 0 s and 1099511627776 s",
                "line 8, column duration: 9223372036854775807 s is not between 1 s and 1099511627776 s",
            ]
        );
        let right: Vec<_> =
            read.into_iter().filter_map(Result::ok).map(|row| (row.row, row.number, row.gpus)).collect();
        assert_eq!(right, [(0, 7, 1), (7, 12, 8)]);
    }

    #[test]
    fn a_cut_without_numbers_counts_its_rows() {
        let text = "user,vc,gpu_num,submit_time,duration\na,v,1,10,5\na,v,2,11,5\n";
        let read: Vec<_> = HeliosTrace::open(text.as_bytes()).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|row| (row.row, row.number)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    }

    #[test]
    fn virtual_clusters_have_a_name_and_nodes() {
        let read = virtual_clusters(",num\nvcA,9\nvcB,5\n".as_bytes()).unwrap();
        assert_eq!(read[1], VirtualCluster { name: "vcB".into(), nodes: 5 });
        let twice = virtual_clusters(",num\nvcA,9\nvcA,5\n".as_bytes()).unwrap_err();
        assert_eq!(twice.to_string(), "line 3, column vc: vcA stands here for the second time");
        let none = virtual_clusters(",num\nvcA,-1\n".as_bytes()).unwrap_err();
        assert!(none.to_string().starts_with("line 2, column num: \"-1\""), "{none}");
        let huge = virtual_clusters(",num\nvcA,4000000000\n".as_bytes()).unwrap_err();
        assert_eq!(huge.to_string(), "line 2, column num: 4000000000 nodes are more than 1000000");
    }

    #[test]
    fn predictions_go_by_the_number_of_the_job() {
        let read = predictions("job_id,pred_lgb\n5,1.5\n".as_bytes()).unwrap();
        assert_eq!(read[&5], 1.5);
        let error = predictions("job_id,guess\n5,1.5\n".as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 1: it has none of the columns predicted, pred_lgb, pred, prediction");
        let error = predictions("job_id,pred\n5,NaN\n".as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column pred: it is no finite number of seconds");
    }
}
