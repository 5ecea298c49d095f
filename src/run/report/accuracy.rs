//! How often the reward models are right on held-out pairs, beside what needs no model.

use super::format::{escape, percent};
use super::read::{HeldOut, Share};
use crate::run::summary::interval_name;

/// One row a model, then its baselines; those that all models share stand once.
pub(super) fn accuracies(accuracies: &[(&'static str, HeldOut)]) -> String {
    let Some((_, first)) = accuracies.first() else {
        return String::new();
    };
    let models = accuracies.iter().map(|(name, of)| (*name, of.judge));
    let mut baselines: Vec<(&str, Share)> = Vec::new();
    for (_, of) in accuracies {
        let both = [
            ("the longer response", of.length_only),
            ("a coin", of.random),
        ];
        for baseline in both {
            if !baselines.contains(&baseline) {
                baselines.push(baseline);
            }
        }
    }
    let models: String = models.map(|(name, share)| row(name, share, "")).collect();
    let baselines: String = baselines
        .iter()
        .map(|(name, share)| row(name, *share, " class=\"dim\""))
        .collect();
    format!(
        "<p class=\"dim\">How often the chosen response of a held-out pair gets the higher reward; a tie counts \
         half. A model that does not beat the longer response has learnt to count.</p>\
         <div class=\"wide\"><table><thead><tr><th>judge</th><th>right</th><th>{}</th><th>pairs</th><th>ties</th></tr></thead>\
         <tbody>{models}{baselines}</tbody></table></div>",
        interval_name(first.confidence)
    )
}

fn row(name: &str, share: Share, class: &str) -> String {
    format!(
        "<tr{class}><th>{}</th><td>{}</td><td>{} to {}</td><td>{}</td><td>{}</td></tr>",
        escape(name),
        percent(share.accuracy),
        percent(share.low),
        percent(share.high),
        share.pairs,
        share.ties,
    )
}
