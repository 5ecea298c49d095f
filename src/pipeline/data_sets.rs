//! The commits of the hub's data sets that a run reads: `data-sets.json`, by their names. Whoever goes on with a run reads the rows
//! that it began with, whatever was pushed since.

use crate::data::hub;
use crate::error::Result;
use crate::run::{Layout, read_json};

/// Lets names stand for the commits that the run knows.
///
/// # Errors
/// A file that cannot be read.
pub fn recall(layout: &Layout) -> Result<()> {
    let known = read_json(&layout.data_sets()).map_err(|error| {
        error.hint("remove the file: the run then reads the newest commits, and refuses stages whose rows are others")
    })?;
    hub::pin(known.unwrap_or_default());
    Ok(())
}

/// Keeps what the names were found to stand for, and will be found to.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn keep(layout: &Layout) -> Result<()> {
    hub::keep_in(layout.data_sets())
}
