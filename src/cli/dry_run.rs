//! `--dry-run`: the resolved recipe, the device, and what the run will take.

use super::{Global, output, setup};
use crate::error::{Error, Result};
use crate::pipeline::estimate::{Estimate, StageEstimate, estimate, memory_of, ways};
use crate::pipeline::{Until, data_sets, directory};
use crate::recipe::{Loaded, Recipe};
use crate::run::{Layout, available_mib};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Prints it. What is not known yet is named; a device that cannot be opened is one of these things.
///
/// # Errors
/// After all that is known was printed: a model of which nothing is known, as the run would fail on it, too.
pub fn show(loaded: &Loaded, global: &Global, until: Until) -> Result<()> {
    let backend = loaded.recipe.device.backend.name();
    let opened = setup::open_device(backend, loaded.recipe.device.index);
    data_sets::recall(&Layout::new(&directory(&loaded.recipe)?))?;
    let mut found = estimate(&loaded.recipe, opened.as_ref().ok()).until(until);
    let device = setup::opened(backend);
    if let Err(error) = &opened {
        let fact = format!("the time: the run itself will fail: {}", error.message);
        found.unknown.push(fact);
        tracing::warn!("{}; the run itself will fail", error.message);
    }
    let missing = loaded.missing_files();
    let missing = missing.iter().map(|file| format!("no such file: {file}"));
    found.unknown.splice(0..0, missing);
    let unread = found.unread.take();
    match global.json {
        true => json_line(loaded, &device, &found),
        false => output::print(&format!(
            "{}\n{}",
            loaded.show().trim_end(),
            text(
                &device,
                &found,
                unread.as_ref(),
                &room(&loaded.recipe, &found, until)
            )
        )),
    }?;
    match unread {
        Some((whose, error)) => Err(error.at(whose)),
        None => Ok(()),
    }
}

fn json_line(loaded: &Loaded, device: &str, found: &Estimate) -> Result<()> {
    let origins: Map<String, Value> = loaded
        .origins
        .iter()
        .map(|(key, origin)| (key.clone(), origin.to_string().into()))
        .collect();
    output::json(&json!({
        "recipe": loaded.recipe,
        "origins": origins,
        "device": device,
        "available_bytes": available_mib().map(|mib| (mib * MIB) as u64),
        "estimate": found,
    }))
}

const MIB: f64 = (1u64 << 20) as f64;

/// What the recipe takes, what there is, and if that is too little, what would make it fit.
fn room(recipe: &Recipe, found: &Estimate, until: Until) -> String {
    let Some(peak) = found.peak_bytes else {
        return String::new();
    };
    let mut text = format!("\nmemory  about {} at the peak", bytes(peak as f64));
    let free = available_mib().map(|mib| (mib * MIB) as u64);
    if let Some(free) = free {
        let _ = write!(text, "; {} are free now", bytes(free as f64));
    }
    let memory = memory_of(recipe);
    if let Some(memory) = memory.filter(|_| recipe.device.memory_gib.is_some()) {
        let _ = write!(text, "; device.memory_gib is {}", bytes(memory as f64));
    }
    let least = [free, memory].into_iter().flatten().min();
    if let Some(least) = least.filter(|least| peak > *least) {
        text += "\n        too little";
        for way in ways(recipe, until, least) {
            let _ = write!(text, "\n        would fit: {}", way.text());
        }
    }
    text
}

/// Comments, so that the whole is still a recipe.
fn text(device: &str, found: &Estimate, unread: Option<&(String, Error)>, room: &str) -> String {
    let mut text = format!("\ndevice  {device}{room}");
    if let Some(seconds) = found.seconds {
        let _ = write!(text, "\ntime    {}, at least", roughly(seconds));
    }
    if let Some(rate) = found.flops_per_second {
        let _ = write!(
            text,
            " (matrix products alone, at the {:.0} Gflop/s measured now)",
            rate / 1e9
        );
    }
    if !found.stages.is_empty() {
        let header = ["stage", "memory", "steps", "tokens", "at least"];
        let table = output::table(&header, found.stages.iter().map(row).collect());
        let _ = write!(text, "\n{table}");
        let full = |stage: &StageEstimate| stage.seconds_of_a_full_step.is_some();
        if found.stages.iter().any(full) {
            text += "\na full step: all its rows as long as max_length lets them be";
        }
    }
    for unknown in found.unknown_beside(unread) {
        let _ = write!(text, "\nnot known yet: {unknown}");
    }
    text.lines()
        .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
        .collect::<String>()
        .trim_end()
        .to_owned()
}

fn row(stage: &StageEstimate) -> Vec<String> {
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        stage.stage.clone(),
        bytes(stage.peak_bytes as f64),
        known(stage.steps.map(|steps| steps.to_string())),
        known(stage.tokens.map(thousands)),
        known(stage.seconds.map(roughly).or_else(|| {
            let seconds = stage.seconds_of_a_full_step?;
            Some(format!("{} a full step", roughly(seconds)))
        })),
    ]
}

fn thousands(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{} k", count / 1000),
        _ => format!("{} M", count / 1_000_000),
    }
}

fn bytes(count: f64) -> String {
    match count / MIB {
        mib if mib < 1024.0 => format!("{mib:.0} MiB"),
        mib => format!("{:.1} GiB", mib / 1024.0),
    }
}

/// An order of magnitude: a least time knows no more.
fn roughly(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => "under a minute".to_owned(),
        s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("about {:.0} h", s / 3600.0),
        s => format!("about {:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_orders_of_magnitude() {
        let said = [12.0, 700.0, 7300.0, 400_000.0].map(roughly);
        assert_eq!(
            said,
            [
                "under a minute",
                "about 12 min",
                "about 2 h",
                "about 5 days"
            ]
        );
        assert_eq!(
            [bytes(700.0 * MIB), bytes(3100.0 * MIB)],
            ["700 MiB", "3.0 GiB"]
        );
    }

    #[test]
    fn what_is_unknown_is_said_and_every_line_is_a_comment() {
        let found = Estimate {
            unknown: vec!["sft: the rows: cannot open a.jsonl".into()],
            ..Estimate::default()
        };
        let text = text("cpu", &found, None, "");
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        assert!(
            text.ends_with("# not known yet: sft: the rows: cannot open a.jsonl"),
            "{text}"
        );
    }
}
