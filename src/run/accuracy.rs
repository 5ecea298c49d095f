//! What the judges that a run trained are right about on rows that were kept from them.

use super::layout::Layout;
use super::stage::stages;
use super::summary::read_json;
use crate::error::Result;
use serde_json::Value;
use std::collections::BTreeMap;

/// The stages that train judges of pairs, in the order in which they are shown.
pub const RANKING_STAGES: [&str; 4] = ["reward", "reward-second", "multi-objective", "pairwise"];

/// The stage that trains the judge of single solutions.
pub const VERIFIER_STAGE: &str = "verifier";

/// The reports on held-out rows by the stages that trained the judges; one without held-out rows has none, and what a redone
/// stage left behind is none.
///
/// # Errors
/// A file that cannot be read.
pub fn accuracies(layout: &Layout) -> Result<BTreeMap<&'static str, Value>> {
    let stages = stages(layout)?;
    let mut found = BTreeMap::new();
    for name in RANKING_STAGES.into_iter().chain([VERIFIER_STAGE]) {
        let measured = format!("{name}-eval");
        if stages.iter().any(|s| s.stale && s.name == measured) {
            continue;
        }
        let report: Option<Value> = read_json(&layout.accuracy(name))?;
        let report = report.filter(|report| !report.is_null());
        found.extend(report.map(|report| (name, report)));
    }
    Ok(found)
}

/// The numbers of such reports by name, for comparing runs: how often each judge is right, and of the verifier also what needs
/// no model.
pub fn numbers(accuracies: &BTreeMap<&'static str, Value>) -> Vec<(String, f64)> {
    let parts = [
        ("accuracy", "/judge/accuracy"),
        ("accuracy", "/accuracy"),
        ("majority", "/majority"),
        ("AUC", "/auc"),
    ];
    let of = |(stage, report): (&&'static str, &Value)| {
        let known = parts.map(|(name, place)| {
            let number = report.pointer(place).and_then(Value::as_f64)?;
            Some((format!("{stage} {name}"), number))
        });
        known.into_iter().flatten().collect::<Vec<_>>()
    };
    accuracies.iter().flat_map(of).collect()
}
