//! What was taken, what was changed and what could not be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// A word about one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remark {
    /// The table it stands in.
    pub table: &'static str,
    /// Which row: what tells it from others.
    pub key: String,
    /// Which column of it, or which part of a column.
    pub column: String,
    /// What there is to say.
    pub reason: String,
}

/// How many of what hai keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amounts {
    /// Users.
    pub users: u64,
    /// Teams: upstream's groups of users.
    pub teams: u64,
    /// Rows of rights.
    pub rights: u64,
    /// Tasks that wait.
    pub tasks: u64,
}

/// All that there is to say of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// What is new in hai.
    pub taken: Amounts,
    /// What hai had already, which is as it was.
    pub already: Amounts,
    /// What is not in hai as it was upstream.
    pub changed: Vec<Remark>,
    /// What has no place in hai.
    pub left_out: Vec<Remark>,
    /// What can not be what it should be; all else was taken.
    pub malformed: Vec<Remark>,
    /// Rows that nobody looked at, by table.
    pub not_read: BTreeMap<String, u64>,
    /// Where the new tokens are.
    pub tokens: Option<String>,
    /// A piece of configuration: groups of nodes, and the numbers of users.
    pub configuration: String,
}

/// How many rows with the same to say are named one by one.
const NAMED: usize = 3;

impl Report {
    /// As text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let would = if self.dry_run { "would be taken" } else { "were taken" };
        let Amounts { users, teams, rights, tasks } = self.taken;
        let _ = writeln!(out, "{users} users, {teams} teams, {rights} rights and {tasks} waiting tasks {would}");
        let Amounts { users, teams, rights, tasks } = self.already;
        if self.already != Amounts::default() {
            let _ = writeln!(
                out,
                "{users} users, {teams} teams, {rights} rights and {tasks} tasks are there already, and stay"
            );
        }
        if let Some(tokens) = &self.tokens {
            let _ = writeln!(
                out,
                "users' new tokens {} {tokens}, and nowhere else",
                if self.dry_run { "would be in" } else { "are in" }
            );
        }
        grouped(&mut out, "Changed", &self.changed);
        grouped(&mut out, "Left out", &self.left_out);
        if !self.not_read.is_empty() {
            out += "\nNot read:\n";
            for (table, rows) in &self.not_read {
                let _ = writeln!(out, "  {table}: {rows} rows");
            }
        }
        if !self.malformed.is_empty() {
            out += "\nMalformed, one by one:\n";
            for Remark { table, key, column, reason } in &self.malformed {
                let _ = writeln!(out, "  {table}, row {key}, {column}: {reason}");
            }
        }
        if self.dry_run {
            out += "\nNothing was changed.\n";
        }
        out
    }
}

/// Those of whom the same is to be said in one line.
fn grouped(out: &mut String, title: &str, remarks: &[Remark]) {
    if remarks.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    let mut alike: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for Remark { table, key, column, reason } in remarks {
        alike.entry((table, column, reason)).or_default().push(key);
    }
    for ((table, column, reason), keys) in alike {
        let named = keys.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = match keys.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(out, "  {table}, {column} of {named}{more}: {reason}");
    }
}
