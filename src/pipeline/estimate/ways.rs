//! A recipe that is too large for its device, and what would make it fit.

use super::{Estimate, estimate};
use crate::error::{Error, Result};
use crate::pipeline::Until;
use crate::recipe::{Lora, Optim, Recipe, Sampling, Train, WeightDtype};
use duel_backends::device::{self, Found};
use serde::Serialize;

/// A change that makes a recipe fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// The overrides, `table.key=value`.
    pub set: Vec<String>,
    /// What it costs.
    pub price: String,
    /// What the recipe then takes at its peak.
    pub peak_bytes: u64,
}

impl Way {
    /// The flags to type, what the recipe then takes, and what that costs.
    pub fn text(&self) -> String {
        let set = self.set.iter().map(|set| format!("--set {set}"));
        let set = set.collect::<Vec<_>>().join(" ");
        format!("{set} ({:.2} GiB: {})", gib(self.peak_bytes), self.price)
    }
}

/// Bytes in GiB.
pub fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The hint of what does not fit: the ways that would, one a line.
pub fn hint_of(ways: &[String]) -> String {
    match ways.is_empty() {
        true => "nothing that duel knows makes this model fit: take a smaller one".to_owned(),
        false => ways.join("\n      "),
    }
}

/// The device that `recipe` names; none where there is no such device.
fn device_of(recipe: &Recipe) -> Option<Found> {
    device::find(recipe.device.backend.name(), recipe.device.index)
}

/// Whether that is a graphics card, with a memory of its own.
pub(super) fn on_card(recipe: &Recipe) -> bool {
    device_of(recipe).is_some_and(|found| found.backend != "cpu")
}

/// Bytes of that device, or of what the recipe says to plan for; none where the system does not tell.
pub fn memory_of(recipe: &Recipe) -> Option<u64> {
    match recipe.device.memory_gib {
        Some(gib) => Some((gib * f64::from(1 << 30)) as u64),
        None => device_of(recipe)?.memory_bytes,
    }
}

/// Stops a recipe whose stages up to `until` surely do not fit, before anything is loaded: lengths that are only guessed
/// do not count, and as an estimate may be a fifth too high, one that is only a little over is tried.
///
/// # Errors
/// The stage, what it takes, what there is, and the three cheapest ways to make it fit.
pub fn refuse_too_large(recipe: &Recipe, until: Until) -> Result<()> {
    let Some(memory) = memory_of(recipe) else {
        return Ok(());
    };
    let most = (memory as f64 / 0.8) as u64;
    let found = estimate(recipe, None).until(until);
    let Some(largest) = found.stages.iter().max_by_key(|stage| stage.sure_bytes) else {
        return Ok(());
    };
    if largest.sure_bytes <= most {
        return Ok(());
    }
    let has = match recipe.device.memory_gib {
        Some(_) => "device.memory_gib is",
        None => "the device has",
    };
    let fact = format!(
        "stage {} takes about {:.2} GiB, {has} {:.2} GiB",
        largest.stage,
        gib(largest.peak_bytes),
        gib(memory)
    );
    let ways: Vec<String> = ways(recipe, until, most).iter().map(Way::text).collect();
    Err(Error::device(fact).hint(hint_of(&ways)))
}

/// The three cheapest changes that make `recipe` fit into `memory` bytes up to `until`; none where it fits.
pub fn ways(recipe: &Recipe, until: Until, memory: u64) -> Vec<Way> {
    let whole = estimate(recipe, None).until(until);
    let over = |found: &Estimate| found.peak_bytes.is_some_and(|peak| peak > memory);
    if !over(&whole) {
        return Vec::new();
    }
    let mut ways: Vec<Way> = Vec::new();
    for prices in PRICES {
        let (mut changed, mut set, mut said) = (recipe.clone(), Vec::new(), Vec::new());
        for price in *prices {
            let before = set.len();
            let too_large = whole
                .stages
                .iter()
                .filter(|stage| stage.peak_bytes > memory);
            for stage in too_large {
                price.pay(&mut changed, &stage.stage, &mut set);
            }
            if set.len() > before {
                said.push(price.text());
            }
        }
        // A way that has all of a cheaper one and more is none.
        let more_than = |way: &Way| way.set.iter().all(|change| set.contains(change));
        let found = estimate(&changed, None).until(until);
        if set.is_empty() || over(&found) || ways.iter().any(more_than) {
            continue;
        }
        ways.push(Way {
            set,
            price: said.join(", "),
            peak_bytes: found.peak_bytes.unwrap_or_default(),
        });
    }
    ways.truncate(3);
    ways
}

/// What may be given for memory, cheapest first.
#[derive(Clone, Copy)]
enum Price {
    Batch,
    Recompute,
    Serve,
    Pack,
    Adapter,
    Quarter,
}

use Price::{Adapter, Batch, Pack, Quarter, Recompute, Serve};

const PRICES: &[&[Price]] = &[
    &[Batch],
    &[Recompute],
    &[Batch, Recompute],
    &[Batch, Recompute, Serve],
    &[Pack],
    &[Batch, Recompute, Serve, Pack],
    &[Adapter],
    &[Adapter, Batch],
    &[Adapter, Batch, Recompute, Serve],
    &[Adapter, Batch, Recompute, Serve, Quarter],
];

impl Price {
    fn text(self) -> &'static str {
        match self {
            Batch => "smaller micro-batches, same results",
            Recompute => "blocks computed again, 15 to 30 % more time, same results",
            Serve => "responses drawn from bf16 weights",
            Pack => "AdamW's moments in 8 bits",
            Adapter => "an adapter is trained, not the weights",
            Quarter => "the weights under it are rounded to 4 bits",
        }
    }

    /// Changes what `stage` takes, and says how.
    fn pay(self, recipe: &mut Recipe, stage: &str, set: &mut Vec<String>) {
        let mut note = |key: &str, value: &str| {
            let change = format!("{key}={value}");
            if !set.contains(&change) {
                set.push(change);
            }
        };
        if let Quarter = self {
            if !recipe.model.load_in_4bit && all_adapters(recipe) {
                recipe.model.load_in_4bit = true;
                note("model.load_in_4bit", "true");
            }
            return;
        }
        if let Some((table, sampling)) = drawing(recipe, stage) {
            match self {
                Batch if sampling.max_tokens_per_batch > SMALL => {
                    sampling.max_tokens_per_batch = SMALL;
                    note(
                        &format!("{table}.generate.max_tokens_per_batch"),
                        &SMALL.to_string(),
                    );
                }
                Serve if sampling.dtype == WeightDtype::F32 => {
                    sampling.dtype = WeightDtype::Bf16;
                    note(&format!("{table}.generate.dtype"), "bf16");
                }
                _ => {}
            }
            return;
        }
        let Some((table, train, lora)) = training(recipe, stage) else {
            return;
        };
        match self {
            Batch if train.max_tokens_per_batch > SMALL => {
                train.max_tokens_per_batch = SMALL;
                note(
                    &format!("{table}.train.max_tokens_per_batch"),
                    &SMALL.to_string(),
                );
            }
            Recompute if !train.gradient_checkpointing => {
                train.gradient_checkpointing = true;
                note(&format!("{table}.train.gradient_checkpointing"), "true");
            }
            Pack if train.optim == Optim::Adamw => {
                train.optim = Optim::Adamw8bit;
                note(&format!("{table}.train.optim"), "adamw_8bit");
            }
            Adapter if lora.is_none() => {
                *lora = Some(Lora::default());
                note(&format!("{table}.lora.r"), &Lora::default().r.to_string());
            }
            _ => {}
        }
    }
}

/// Tokens of a small micro-batch: rows that are longer still go alone.
const SMALL: usize = 1024;

/// Whether nothing but adapters is trained.
fn all_adapters(recipe: &Recipe) -> bool {
    let tables = [
        recipe.sft.as_ref().map(|table| &table.lora),
        recipe.reward.as_ref().map(|table| &table.lora),
        recipe.pairwise.as_ref().map(|table| &table.lora),
        recipe.verifier.as_ref().map(|table| &table.lora),
        recipe.dpo.as_ref().map(|table| &table.lora),
        recipe.online.as_ref().map(|table| &table.lora),
    ];
    tables.into_iter().flatten().all(Option::is_some)
}

/// The table of a stage that draws responses.
fn drawing<'a>(recipe: &'a mut Recipe, stage: &str) -> Option<(&'static str, &'a mut Sampling)> {
    match stage {
        "eval/responses" => Some(("eval", &mut recipe.eval.as_mut()?.generate)),
        "round-*/responses" => Some(("online", &mut recipe.online.as_mut()?.generate)),
        _ => None,
    }
}

/// The tables of a stage that trains.
fn training<'a>(
    recipe: &'a mut Recipe,
    stage: &str,
) -> Option<(&'static str, &'a mut Train, &'a mut Option<Lora>)> {
    match stage {
        "sft" => recipe
            .sft
            .as_mut()
            .map(|t| ("sft", &mut t.train, &mut t.lora)),
        "reward" | "reward-second" => {
            let table = recipe.reward.as_mut();
            table.map(|t| ("reward", &mut t.train, &mut t.lora))
        }
        "pairwise" => recipe
            .pairwise
            .as_mut()
            .map(|t| ("pairwise", &mut t.train, &mut t.lora)),
        "verifier" => recipe
            .verifier
            .as_mut()
            .map(|t| ("verifier", &mut t.train, &mut t.lora)),
        "dpo" => recipe
            .dpo
            .as_mut()
            .map(|t| ("dpo", &mut t.train, &mut t.lora)),
        "round-*/checkpoint" => {
            let table = recipe.online.as_mut();
            table.map(|t| ("online", &mut t.train, &mut t.lora))
        }
        _ => None,
    }
}
