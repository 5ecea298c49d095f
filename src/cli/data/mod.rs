//! `duel data`: look at rows before anything is trained on them.

mod check;
mod list;
mod roles;
mod rows;
mod show;
mod solutions;

use super::reading::{self, Reading, file};
use super::{Global, setup};
use crate::error::Result;
use crate::model::files::{Checkpoint, config::HfConfig, hub, peft};
use crate::text::{Chat, TokenizerFiles};
use clap::{Args, Subcommand};
use rows::As;
use std::path::{Path, PathBuf};

/// Look at rows before anything is trained on them
///
/// Example: duel data check pairs.jsonl
#[derive(Debug, Args)]
pub struct Data {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Show),
    Check(check::Check),
    List(list::List),
}

impl Data {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        match &self.command {
            Command::Show(command) => command.run(global),
            Command::Check(command) => command.run(global),
            Command::List(command) => command.run(global),
        }
    }
}

/// How the rows of a file are read, and as what.
#[derive(Debug, Args)]
struct Rows {
    /// What the rows are: `auto` takes the first of the others that some row is
    #[arg(long = "as", value_enum, default_value_t = As::Auto, value_name = "KIND")]
    kind: As,
    #[command(flatten)]
    reading: Reading,
}

/// The files that a name on the command line stands for.
fn rows_of(name: &str) -> Result<Vec<PathBuf>> {
    reading::rows(&file(name)?)
}

/// Tokenizer and chat template of a model that is named on the command line; no weights are read.
fn chat(model: &str) -> Result<Chat> {
    let path = setup::model_path(model)?;
    Chat::new(&tokenizer(&path)?).map_err(|error| error.at(path.display()))
}

/// The longest sequence that a model allows, by its config.
fn longest(model: &str) -> Result<usize> {
    let path = setup::model_path(model)?;
    if !path.is_dir() {
        return Ok(Checkpoint::open(&path)?.spec.max_position_embeddings);
    }
    let path = match path.join("adapter_config.json").exists() {
        true => {
            let config = peft::read_config(&path)?;
            match config.base_model_name_or_path {
                Some(base) => hub::resolve(&base, config.revision.as_deref(), false)?,
                None => path,
            }
        }
        false => path,
    };
    match path.is_dir() {
        true => Ok(HfConfig::read(&path)?.resolve()?.max_position_embeddings),
        false => Ok(Checkpoint::open(&path)?.spec.max_position_embeddings),
    }
}

fn tokenizer(path: &Path) -> Result<TokenizerFiles> {
    if !path.is_dir() {
        let inside = Checkpoint::open(path)?.tokenizer_files();
        return inside.unwrap_or_else(|| TokenizerFiles::read(path));
    }
    let adapter =
        path.join("adapter_config.json").exists() && !path.join("tokenizer.json").exists();
    match peft::read_config(path) {
        Ok(peft::AdapterConfig {
            base_model_name_or_path: Some(base),
            revision,
            ..
        }) if adapter => TokenizerFiles::read(&hub::resolve(&base, revision.as_deref(), false)?),
        _ => TokenizerFiles::read(path),
    }
}
