//! `duel eval --rewardbench`: subsets, sections, prior sets, and the leaderboard's overall score.

use super::super::{Global, output};
use super::{row, show_biases};
use crate::error::Result;
use crate::eval::rewardbench::{PRIOR_SETS, sections};
use crate::eval::{AccuracyReport, RewardBench};
use crate::run::interval_name;
use serde_json::json;

/// Prints what RewardBench makes of a report.
pub(super) fn show(found: &AccuracyReport, judge: &str, global: &Global) -> Result<()> {
    let bench = RewardBench::of_report(found)?;
    if global.json {
        return output::json(&json!({"rewardbench": bench, "accuracy": found}));
    }
    for line in gaps(&bench) {
        output::note(&line);
    }
    let scores = [bench.chat, bench.chat_hard, bench.safety, bench.reasoning];
    let mut rows = Vec::new();
    for ((section, names), score) in sections().into_iter().zip(scores) {
        let measured = names
            .iter()
            .filter_map(|name| Some(row(name, found.subsets.get(*name)?)));
        rows.extend(measured);
        rows.push(sum(section, score));
    }
    let measured = PRIOR_SETS
        .iter()
        .filter_map(|name| Some(row(name, found.subsets.get(*name)?)));
    rows.extend(measured);
    rows.push(sum("Prior Sets", bench.prior));
    rows.push(sum("overall", bench.overall));
    rows.push(sum("overall with prior sets", bench.overall_with_prior));
    rows.push(row("the longer response", &found.length_only));
    rows.push(row("a coin", &found.random));
    let interval = interval_name(Some(found.confidence));
    output::print(&output::table(
        &[judge, "right", &interval, "pairs", "ties"],
        rows,
    ))?;
    show_biases(found)
}

/// A row that sums others up.
fn sum(name: &str, score: Option<f64>) -> Vec<String> {
    let score = score.map_or("-".to_owned(), |score| format!("{score:.1} %"));
    vec![
        name.to_owned(),
        score,
        String::new(),
        String::new(),
        String::new(),
    ]
}

/// In what the rows are not the published ones.
fn gaps(bench: &RewardBench) -> Vec<String> {
    let mut lines = Vec::new();
    if !bench.missing.is_empty() {
        lines.push(format!(
            "{} of the 23 subsets are not here, so their sections have no score: {}",
            bench.missing.len(),
            bench.missing.join(", ")
        ));
    }
    if !bench.other_counts.is_empty() {
        let counts = bench.other_counts.iter();
        let counts = counts.map(|(name, c)| format!("{name} {} of {}", c.pairs, c.published));
        lines.push(format!(
            "these subsets do not have the published number of pairs: {}",
            counts.collect::<Vec<_>>().join(", ")
        ));
    }
    if !bench.unknown.is_empty() {
        let unknown = bench.unknown.iter();
        let unknown = unknown.map(|(name, pairs)| format!("{name} ({pairs} pairs)"));
        lines.push(format!(
            "no part of RewardBench, and in no score: {}",
            unknown.collect::<Vec<_>>().join(", ")
        ));
    }
    lines
}
