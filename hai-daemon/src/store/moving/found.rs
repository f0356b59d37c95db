//! What is in a place before anything is done there.

/// What was found, without changing anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// There are tables of hai's.
    pub tables: bool,
    /// Those with something in them.
    pub filled: Vec<&'static str>,
    /// Where the daemon that leads there can be reached, if the database knows of one.
    pub leader: Option<String>,
}
