//! How often the judges that the run trained are right on held-out rows, beside what needs no model.

use super::format::{escape, percent};
use super::read::{HeldOut, Share, Verdicts};
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

/// The verifier, then who always says what is said of most.
pub(super) fn verdicts(of: &Verdicts) -> String {
    let auc = match of.auc {
        Some(auc) => format!(
            "A right one is ranked above a wrong one with probability <b>{auc:.3}</b> (AUC; 0.5 is a coin)."
        ),
        None => {
            "All labels are the same, so there is no AUC: hold out rows of both kinds.".to_owned()
        }
    };
    let undecided = match of.undecided {
        0 => String::new(),
        some => format!(
            " {} between 0 and 1 and not counted.",
            count(some, "label is", "labels are")
        ),
    };
    let line = |name: &str, share: f64, interval: String, positive: String, class: &str| {
        format!(
            "<tr{class}><th>{name}</th><td>{}</td><td>{interval}</td><td>{}</td><td>{positive}</td></tr>",
            percent(share),
            of.labels,
        )
    };
    let interval = format!("{} to {}", percent(of.low), percent(of.high));
    let own = line(
        "verifier",
        of.accuracy,
        interval,
        of.positive.to_string(),
        "",
    );
    let always = line(
        "always the same answer",
        of.majority,
        String::new(),
        String::new(),
        " class=\"dim\"",
    );
    format!(
        "<p class=\"dim\">How often it is right that a held-out step or solution is right or wrong. A verifier that does not \
         beat the same answer to all has learnt how many are right, not which. {auc}{undecided}</p>\
         <div class=\"wide\"><table><thead><tr><th>judge</th><th>right</th><th>{}</th><th>labels</th><th>of them right</th></tr></thead>\
         <tbody>{own}{always}</tbody></table></div>",
        interval_name(of.confidence)
    )
}

fn count(number: usize, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    }
}
