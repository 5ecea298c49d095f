//! The commits of the hub's data sets that a run reads: `data-sets.json`, by their names. Whoever goes on with a run reads the rows
//! that it began with, whatever was pushed since.

use crate::data::hub;
use crate::error::Result;
use crate::run::{Layout, read_json, write_json};

/// Lets names stand for the commits that the run knows.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn recall(layout: &Layout) -> Result<()> {
    hub::pin(read_json(&layout.data_sets())?.unwrap_or_default());
    Ok(())
}

/// Keeps what the names were found to stand for.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn keep(layout: &Layout) -> Result<()> {
    let commits = hub::pinned();
    match commits.is_empty() {
        true => Ok(()),
        false => write_json(&layout.data_sets(), &commits),
    }
}
