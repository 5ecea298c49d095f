//! `report.html`: what a run did, on one page that needs nothing else.
//!
//! One file, no network, no scripts, no fonts of its own; light and dark; readable on a phone and in print.
//! It is made from the files of the run alone, so it can be made again at any time, also while the run
//! works and after it failed.

mod accuracy;
mod charts;
mod curves;
mod format;
mod headline;
mod histogram;
mod labels;
mod objectives;
mod opinions;
mod page;
mod read;
mod samples;
mod scale;
mod tables;
#[cfg(test)]
mod tests;

use super::atomic::write_atomic;
use super::layout::Layout;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// Writes the report of the run at `run` and returns its path.
///
/// What a run has not got yet is left out. A file that cannot be read costs its section and is named on
/// the page.
///
/// # Errors
///
/// A user error when `run` is no run directory; an [`crate::Error::io`] when the page cannot be written.
pub fn write_report(run: &Path) -> Result<PathBuf> {
    let layout = Layout::new(run);
    let facts = read::Facts::read(&layout)?;
    let path = layout.report();
    write_atomic(&path, page::page(&facts).as_bytes())?;
    Ok(path)
}
