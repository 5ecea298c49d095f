//! How a command reads the rows of a file.

use crate::data::LoadOptions;
use crate::data::hub::{self, Split};
use crate::error::Result;
use crate::pipeline::embedded;
use clap::Args;
use std::path::{Path, PathBuf};

/// The flags that every command with rows has.
#[derive(Debug, Args)]
pub struct Reading {
    /// Count and list rows that cannot be read instead of stopping at the first
    #[arg(long)]
    pub skip_bad: bool,
    /// Take text prompts as a user's turn, with the model's chat template around them; text is else taken as it stands
    #[arg(long, alias = "chat")]
    pub text_as_chat: bool,
    /// The file's name of a column: `prompt=question`; may be repeated
    #[arg(long, value_name = "NAME=COLUMN", value_parser = renamed)]
    pub column: Vec<(String, String)>,
}

impl Reading {
    /// What the loader is told of the rows of `name`: a known data set brings its own names of columns along.
    pub fn options_of(&self, name: &Path) -> LoadOptions {
        let mut options = self.options();
        for (column, own) in hub::known(name).map(|set| set.columns).unwrap_or_default() {
            options.columns.entry(column).or_insert(own);
        }
        options
    }

    /// What the loader is told.
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            skip_bad: self.skip_bad,
            columns: self.column.iter().cloned().collect(),
            text_as_chat: self.text_as_chat,
            ..LoadOptions::default()
        }
    }
}

fn renamed(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, column)| (name.to_owned(), column.to_owned()))
        .ok_or_else(|| "write `prompt=question`".to_owned())
}

/// The path of a file of rows, or of the sample inside the binary that `quickstart:NAME` names.
///
/// # Errors
/// An unknown sample.
pub fn file(name: &str) -> Result<PathBuf> {
    match name.strip_prefix(crate::recipe::Data::EMBEDDED) {
        Some(sample) => embedded::data(sample),
        None => Ok(name.into()),
    }
}

/// The files of rows that a name stands for; of a data set of the hub those to train on.
///
/// # Errors
/// A data set that cannot be had.
pub fn rows(name: &Path) -> Result<Vec<PathBuf>> {
    hub::located(name, &Split::TRAIN)
}

/// The files that names stand for, of data sets of the hub those of a split: see [`hub::located`].
///
/// # Errors
/// A data set that cannot be had.
pub fn located(names: &[PathBuf], split: &Split) -> Result<Vec<PathBuf>> {
    let files: Result<Vec<Vec<PathBuf>>> =
        names.iter().map(|name| hub::located(name, split)).collect();
    Ok(files?.concat())
}
