//! `duel plan`: what a recipe takes in memory before it runs, or what fits where before there is a recipe.

use super::{Global, output};
use crate::error::{Error, Result};
use crate::pipeline::Until;
use crate::pipeline::estimate::{
    Estimate, Known, Method, StageEstimate, Way, estimate, known, memory_of, ways,
};
use crate::recipe::Recipe;
use clap::Args;
use serde_json::json;
use std::fmt::Write;

/// What a recipe will take in memory, part by part, and how to make it fit; without a recipe, what fits where
///
/// Example: duel plan smollm2-hh/online --set device.memory_gib=2
#[derive(Debug, Args)]
pub struct Plan {
    /// A recipe file, or the name of a shipped one (`duel recipe list`)
    recipe: Option<String>,
    /// Change a value: table.key=value
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Without a recipe: tokens of prompt and response together
    #[arg(long, value_name = "N", default_value_t = MAX_LENGTH, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    max_length: u64,
}

/// Tokens of a row in the table of docs/memory.md.
const MAX_LENGTH: u64 = 2048;

/// Memory of common cards, GB.
const CARDS: [u64; 5] = [8, 16, 24, 48, 80];

impl Plan {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let Some(name) = &self.recipe else {
            if !self.set.is_empty() {
                return Err(Error::user("--set changes a recipe, and none was named")
                    .hint("`duel recipe list` shows those that are shipped"));
            }
            return match global.json {
                true => self.known_json(),
                false => output::print(&output::table(&header(), rows(&known(), self.max_length))),
            };
        };
        let mut overrides = Vec::new();
        if global.backend != "auto" {
            overrides.push(format!("device.backend={:?}", global.backend));
        }
        if let Some(index) = global.device {
            overrides.push(format!("device.index={index}"));
        }
        overrides.extend(self.set.iter().cloned());
        let recipe = Recipe::open(name, &overrides)?.recipe;
        let mut found = estimate(&recipe, None);
        let unread = found.unread.take();
        if let ([], Some((whose, error))) = (&found.stages[..], &unread) {
            return Err(error.clone().at(format!("nothing can be planned: {whose}")));
        }
        let memory = memory_of(&recipe);
        let ways = memory.map_or_else(Vec::new, |memory| ways(&recipe, Until::End, memory));
        match global.json {
            true => output::json(&json!({
                "estimate": found,
                "memory_bytes": memory,
                "ways": ways,
            })),
            false => output::print(&text(&found, unread.as_ref(), memory, &ways)),
        }?;
        match unread {
            Some((whose, error)) => Err(error.at(whose)),
            None => Ok(()),
        }
    }

    fn known_json(&self) -> Result<()> {
        known().iter().try_for_each(|known| {
            Method::ALL.into_iter().try_for_each(|method| {
                output::json(&json!({
                    "size": known.size,
                    "model": known.example,
                    "method": method.name(),
                    "max_length": self.max_length,
                    "peak_bytes": known.dpo_bytes(method, self.max_length),
                }))
            })
        })
    }
}

fn header() -> Vec<&'static str> {
    vec!["model", "trained", "GB", "8", "16", "24", "48", "80"]
}

fn rows(known: &[Known], max_length: u64) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for known in known {
        for method in Method::ALL {
            let bytes = known.dpo_bytes(method, max_length);
            let mut row = vec![
                format!("{} ({})", known.size, known.example),
                method.name().to_owned(),
                format!("{:.1}", bytes as f64 / 1e9),
            ];
            let fits = CARDS.map(|gb| {
                if bytes <= gb * 1_000_000_000 {
                    "yes"
                } else {
                    ""
                }
            });
            row.extend(fits.map(str::to_owned));
            rows.push(row);
        }
    }
    rows
}

/// The table of docs/memory.md.
pub fn markdown() -> String {
    let mut text = format!(
        "# What fits where\n\n\
         `duel plan` without a recipe, at `--max-length {MAX_LENGTH}`: memory at the peak of a DPO step of one pair, its \
         prompt half of each\nrow, in f32 with AdamW, and the cards that have it. Longer batches are cut into \
         micro-batches, so that more pairs a step cost\ntime and no memory. `duel plan RECIPE` says it of a recipe, part \
         by part; a new run that surely does not fit is refused before\nit loads anything, with up to three ways to make it fit, \
         cheapest first.\n\n\
         The formula is checked against measured peaks on the CPU: in src/model/memory.rs, by benches/growth.py up to 1 \
         billion\nparameters, and recipe by recipe by benches/memory.py ([benchmarks.md](benchmarks.md)). On a graphics card it \
         has not been\nchecked: none was at hand.\n\n"
    );
    let _ = writeln!(text, "| {} |", header().join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(header().len()));
    for row in rows(&known(), MAX_LENGTH) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn text(
    found: &Estimate,
    unread: Option<&(String, Error)>,
    memory: Option<u64>,
    ways: &[Way],
) -> String {
    let header = [
        "stage",
        "weights",
        "gradients",
        "optimiser",
        "activations",
        "cache, logits",
        "peak",
    ];
    let mut text = match found.stages.is_empty() {
        true => String::new(),
        false => output::table(&header, found.stages.iter().map(parts).collect()),
    };
    if let (Some(peak), None) = (found.peak_bytes, memory) {
        let _ = write!(
            text,
            "\n{} at the peak; the device does not say what it has: --set device.memory_gib=N",
            gib(peak)
        );
    }
    if let (Some(peak), Some(memory)) = (found.peak_bytes, memory) {
        let fits = if peak <= memory {
            "fits"
        } else {
            "does not fit"
        };
        let _ = write!(
            text,
            "\n{} at the peak: {fits} into {}",
            gib(peak),
            gib(memory)
        );
    }
    for way in ways {
        let set = way.set.iter().map(|set| format!("--set {set}"));
        let set = set.collect::<Vec<_>>().join(" ");
        let _ = write!(
            text,
            "\n  {set}\n    {}: {}",
            gib(way.peak_bytes),
            way.price
        );
    }
    for unknown in found.unknown_beside(unread) {
        let _ = write!(text, "\nnot known yet: {unknown}");
    }
    text.trim_start().to_owned()
}

/// A row of the table of a recipe.
fn parts(stage: &StageEstimate) -> Vec<String> {
    let none = String::new;
    let mut row = vec![stage.stage.clone()];
    match (&stage.training, &stage.drawing) {
        (Some(of), _) => row.extend([
            gib(of.start + of.weights),
            gib(of.gradients),
            gib(of.moments),
            gib(of.activations),
            none(),
        ]),
        (None, Some(of)) => row.extend([
            gib(of.weights + of.served),
            none(),
            none(),
            none(),
            gib(of.cache + of.logits),
        ]),
        (None, None) => row.extend([(); 5].map(|()| none())),
    }
    row.push(gib(stage.peak_bytes));
    row
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}
