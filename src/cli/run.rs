//! `duel run`, `sft`, `reward`, `multi-objective`, `pairwise`, `verifier`, `dpo`, `online`: a recipe, or a part of it.

use super::reading::Reading;
use super::recipe::stages;
use super::{Global, dry_run, output, setup, summary};
use crate::data::{DataSet, hub};
use crate::error::{Error, Result};
use crate::pipeline::{self, Until, estimate};
use crate::recipe::{Loaded, Recipe};
use crate::run::{DeviceInUse, Layout, Start};
use clap::Args;
use std::path::Path;

/// Run a recipe: every stage it has, each continued where it stopped
///
/// Example: duel run recipes/smollm2-hh/online.toml --set online.rounds=1
#[derive(Debug, Args)]
pub struct Run {
    /// A recipe file, or the name of a shipped one (`duel recipe list`)
    recipe: Option<String>,
    /// Change a value: table.key=value
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The model to begin with (model.model_name_or_path)
    #[arg(long)]
    model: Option<String>,
    /// The rows to train on (the stage's data.files): a file, or a data set of the hub, by its id or its name in `duel data list`
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Name of the run, and of its folder
    #[arg(long)]
    name: Option<String>,
    /// Where runs are kept
    #[arg(long)]
    output_dir: Option<String>,
    /// Replace stages, done or half done, whose data or starting model changed since; without it such a run is left as it is
    #[arg(long)]
    redo: bool,
    /// Print the resolved recipe with the origin of every value, the device, the memory it will take and a least
    /// time, and stop
    #[arg(long)]
    dry_run: bool,
}

impl Run {
    fn load(&self, global: &Global, until: Until) -> Result<Loaded> {
        let mut overrides = Vec::new();
        let mut put = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                overrides.push(format!("{key}={}", toml::Value::String(value.clone())));
            }
        };
        put("model.model_name_or_path", &self.model);
        put("name", &self.name);
        put("output_dir", &self.output_dir);
        let data = match until {
            Until::Sft => Some("sft.data.files"),
            Until::Reward => Some("reward.data.files"),
            Until::MultiObjective => Some("multi_objective.data.files"),
            Until::Pairwise => Some("pairwise.data.files"),
            Until::Verifier => Some("verifier.data.files"),
            Until::Dpo => Some("dpo.data.files"),
            Until::Online => Some("online.prompts.files"),
            Until::End => None,
        };
        let known = self.data.as_deref().map(Path::new).and_then(hub::known);
        if let Some(set) = known.as_ref().filter(|set| set.evaluation) {
            tracing::warn!(
                "{} is a benchmark: a model that learns from it is no longer measured by it",
                set.hub
            );
        }
        match (data, &self.data) {
            // By the hub's name, unless the user wrote more than the catalogue's.
            (Some(key), Some(name)) if let (Some(set), false) = (&known, name.contains('/')) => {
                put(key, &Some(set.hub.clone()));
            }
            (Some(key), value) => put(key, value),
            (None, Some(_)) => {
                return Err(
                    Error::user("`duel run` does not know which stage --data is for")
                        .hint("use --set, for example --set dpo.data.files=pairs.jsonl"),
                );
            }
            (None, None) => {}
        }
        if self.recipe.is_none() && self.name.is_none() {
            put("name", &Some(table(until).unwrap_or("run").to_owned()));
        }
        if global.backend != "auto" {
            put("device.backend", &Some(global.backend.clone()));
        }
        if let Some(index) = global.device {
            overrides.push(format!("device.index={index}"));
        }
        overrides.extend(self.of_rows(data, known.as_ref())?);
        overrides.extend(self.set.iter().cloned());
        match &self.recipe {
            Some(recipe) => Recipe::open(recipe, &overrides),
            None if let Some(missing) = self.missing(data) => Err(missing),
            None if overrides.is_empty() || (self.model.is_none() && self.set.is_empty()) => {
                Err(Error::user("no recipe was named").hint(
                    "`duel recipe list` shows those that are shipped; or give --model and --data",
                ))
            }
            None => Recipe::from_overrides(&overrides),
        }
    }

    /// How the rows of `data` are read, as overrides of its table; a known set's own names of columns under the user's.
    fn of_rows(&self, data: Option<&str>, known: Option<&DataSet>) -> Result<Vec<String>> {
        let Reading {
            skip_bad,
            text_as_chat,
            column,
        } = &self.reading;
        let switches = [("skip_bad", *skip_bad), ("text_as_chat", *text_as_chat)];
        let switches = switches.into_iter().filter(|(_, on)| *on);
        let mut keys: Vec<String> = switches.map(|(key, _)| format!("{key}=true")).collect();
        let own = known.map(|set| &set.columns).into_iter().flatten();
        let columns = own.chain(column.iter().map(|(name, column)| (name, column)));
        keys.extend(columns.map(|(name, column)| {
            format!("columns.{name}={}", toml::Value::String(column.clone()))
        }));
        let table = data.and_then(|key| key.strip_suffix(".files"));
        match (keys.first(), table) {
            (None, _) => Ok(Vec::new()),
            (Some(_), Some(table)) => Ok(keys.iter().map(|key| format!("{table}.{key}")).collect()),
            (Some(key), None) => Err(Error::user(
                "`duel run` does not know which stage --skip-bad, --text-as-chat and --column are for",
            )
            .hint(format!("use --set, for example --set dpo.data.{key}"))),
        }
    }

    /// What a stage without a recipe needs: a model, and the rows under the key `data`.
    fn missing(&self, data: Option<&str>) -> Option<Error> {
        let data = data?;
        let set = |key: &str| {
            self.set
                .iter()
                .any(|flag| flag.trim_start().starts_with(key))
        };
        let (fact, hint) = match (&self.model, &self.data) {
            (None, Some(_)) if !set("model") => ("no model was named", "add --model MODEL"),
            (Some(_), None) if !set(data) => ("no rows were named", "add --data FILE"),
            _ => return None,
        };
        let hint = format!("{hint}, or name a recipe (`duel recipe list`)");
        Some(Error::user(fact).hint(hint))
    }

    /// Runs the command up to a stage.
    pub fn run(&self, global: &Global, until: Until) -> Result<()> {
        let loaded = self.load(global, until)?;
        refuse_lacking(&loaded.recipe, until)?;
        if self.dry_run {
            return dry_run::show(&loaded, global, until);
        }
        loaded.check_files()?;
        execute(&loaded, global, until, self.redo)
    }
}

/// The table that a command is there for; `duel run` takes what there is.
fn table(until: Until) -> Option<&'static str> {
    match until {
        Until::Sft => Some("sft"),
        Until::Reward => Some("reward"),
        Until::MultiObjective => Some("multi_objective"),
        Until::Pairwise => Some("pairwise"),
        Until::Verifier => Some("verifier"),
        Until::Dpo => Some("dpo"),
        Until::Online => Some("online"),
        Until::End => None,
    }
}

/// A command without its table would do nothing, and call it done.
fn refuse_lacking(recipe: &Recipe, until: Until) -> Result<()> {
    let there = stages(recipe);
    let has = match there[..] {
        [] => "no stage at all".to_owned(),
        _ => there.join(", "),
    };
    match table(until) {
        Some(table) if !there.contains(&table) => Err(Error::user(format!(
            "the recipe has no [{table}]; it has {has}"
        ))
        .hint(format!(
            "add the table, or give `duel {table}` its rows with --data FILE"
        ))),
        _ => Ok(()),
    }
}

/// Runs a loaded recipe and prints what it came to.
///
/// # Errors
/// Whatever a stage reports.
pub fn execute(loaded: &Loaded, global: &Global, until: Until, redo: bool) -> Result<()> {
    let recipe = &loaded.recipe;
    let backend = recipe.device.backend.name();
    let device = setup::open_device(backend, recipe.device.index)?;
    let directory = pipeline::directory(recipe)?;
    if !Layout::new(&directory).recipe().exists() {
        estimate::refuse_too_large(recipe, until)?;
    }
    let start = Start {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        about: recipe.description.clone(),
        machine: pipeline::machine(&setup::opened(backend)),
        redo,
    };
    let chosen = setup::opened(backend);
    let found = duel_backends::device::find(backend, recipe.device.index);
    let busy = found
        .as_ref()
        .map(|found| DeviceInUse::mark(found.backend, found.index));
    if busy.as_ref().is_some_and(|busy| busy.shared) {
        tracing::warn!(
            "another process of duel computes on {chosen} too: they share its memory and its time"
        );
    }
    if let Some(slow) = &found
        && slow.software
    {
        tracing::warn!(
            "{} is a processor that stands in for a graphics card: right, but many times slower than --backend cpu",
            slow.name
        );
    }
    let outcome = pipeline::run(loaded, &directory, device, start, until)?;
    match global.json {
        true => output::json(&summary::json(&outcome)?),
        false => output::print(&summary::text(&outcome)),
    }
}
