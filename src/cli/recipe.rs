//! `duel recipe`: the recipes that come with duel, and one's own before it runs.

use super::{Global, output};
use crate::error::{Error, Result};
use crate::pipeline::preflight;
use crate::recipe::{Recipe as Parsed, catalogue, reference_markdown, schema};
use clap::{Args, Subcommand};
use serde_json::json;

/// List, print and check recipes
///
/// Example: duel recipe check mine.toml
#[derive(Debug, Args)]
pub struct Recipe {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Check(Check),
    Schema(Schema),
    Reference(Reference),
}

/// List the recipes that come with duel
///
/// With --json one line a recipe.
///
/// Example: duel recipe list
#[derive(Debug, Args)]
struct List {}

/// Print a recipe with everything filled in, and where every value came from
///
/// Example: duel recipe show smollm2-hh/online --set online.rounds=5
#[derive(Debug, Args)]
struct Show {
    /// A file, or the name of a recipe that comes with duel
    name: String,
    /// Change a value: `table.key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Check a recipe and its data files without running it: mistakes with their lines and what was probably meant
///
/// Files are looked for once the keys and their values are right; data sets of the hub are not asked for.
///
/// Example: duel recipe check mine.toml
#[derive(Debug, Args)]
struct Check {
    /// A file, or the name of a recipe that comes with duel
    file: String,
    /// Change a value: `table.key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Print the JSON schema of recipes, for completion in editors
///
/// Example: duel recipe schema > recipe.schema.json
#[derive(Debug, Args)]
struct Schema {}

/// Print the reference of all keys as Markdown
///
/// With --json the schema that it is written from.
///
/// Example: duel recipe reference > recipes.md
#[derive(Debug, Args)]
struct Reference {}

impl Recipe {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        match &self.command {
            Command::List(_) => list(global),
            Command::Show(command) => command.run(global),
            Command::Check(command) => command.run(global),
            Command::Schema(_) => print_schema(),
            Command::Reference(_) if global.json => output::json(&schema()),
            Command::Reference(_) => output::print(reference_markdown().trim_end()),
        }
    }
}

fn list(global: &Global) -> Result<()> {
    if global.json {
        return catalogue().try_for_each(|recipe| {
            output::json(&json!({"name": recipe.name(), "description": recipe.description()}))
        });
    }
    let lines = catalogue().map(|recipe| vec![recipe.name().to_owned(), recipe.description()]);
    output::print(&output::table(&["name", "what it does"], lines.collect()))
}

impl Show {
    fn run(&self, global: &Global) -> Result<()> {
        let loaded = Parsed::open(&self.name, &self.set)?;
        if !global.json {
            return output::print(loaded.show().trim_end());
        }
        let origins: serde_json::Map<_, _> = loaded
            .origins
            .iter()
            .map(|(key, origin)| (key.clone(), origin.to_string().into()))
            .collect();
        output::json(&json!({"recipe": loaded.recipe, "origins": origins}))
    }
}

impl Check {
    /// Under `--json` what is wrong is an answer as well, beside the error.
    fn run(&self, global: &Global) -> Result<()> {
        let checked = self.check(global);
        if let (Err(error), true) = (&checked, global.json) {
            output::json(&json!({
                "ok": false,
                "file": self.file,
                "error": error.message,
                "hint": error.hint,
            }))?;
        }
        checked
    }

    fn check(&self, global: &Global) -> Result<()> {
        let loaded = Parsed::open(&self.file, &self.set)?;
        loaded.check_files()?;
        preflight::check(&loaded.recipe)?;
        let stages = stages(&loaded.recipe);
        match global.json {
            true => output::json(
                &json!({"ok": true, "file": self.file, "name": loaded.recipe.name, "stages": stages}),
            ),
            false => output::print(&format!(
                "{} is sound: `{}` runs {}",
                self.file,
                loaded.recipe.name,
                stages.join(", ")
            )),
        }
    }
}

/// The stages that a recipe runs, in their order.
pub(super) fn stages(recipe: &Parsed) -> Vec<&'static str> {
    [
        ("sft", recipe.sft.is_some()),
        ("reward", recipe.reward.is_some()),
        ("multi_objective", recipe.multi_objective.is_some()),
        ("pairwise", recipe.pairwise.is_some()),
        ("verifier", recipe.verifier.is_some()),
        ("dpo", recipe.dpo.is_some()),
        ("online", recipe.online.is_some()),
        ("eval", recipe.eval.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect()
}

fn print_schema() -> Result<()> {
    let text = serde_json::to_string_pretty(&schema())
        .map_err(|error| Error::internal(format!("cannot write the schema: {error}")))?;
    output::print(&text)
}
