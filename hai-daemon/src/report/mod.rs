//! The page of a simulation, and its charts.

use crate::cli::simulate::Study;

/// The page.
///
/// # Errors
/// It can not be put together.
pub fn page(studies: &[(String, &Study)]) -> Result<String, askama::Error> {
    let _ = studies;
    Ok(String::new())
}

/// The charts by name, each an SVG file of its own.
#[must_use]
pub fn charts(studies: &[(String, &Study)]) -> Vec<(String, String)> {
    let _ = studies;
    Vec::new()
}
