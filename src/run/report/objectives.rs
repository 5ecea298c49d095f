//! What a multi-objective model's attributes come to on held-out pairs, and its tree where it has one.

use super::format::{escape, number, percent};
use super::read::Share;
use serde::Deserialize;

/// The part of `multi-objective-eval.json` that the page needs beside the accuracy.
#[derive(Debug, Deserialize)]
pub(super) struct Objectives {
    #[serde(default)]
    tree: Option<Share>,
    /// The tree as text.
    #[serde(default)]
    printout: Option<String>,
    mean_of_rewards: Option<Share>,
    mean_of_debiased: Option<Share>,
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
struct Attribute {
    attribute: String,
    reward: Option<Share>,
    debiased: Option<Share>,
    gate: f64,
    gate_spread: f64,
    correlation_before: Option<f64>,
    correlation_after: Option<f64>,
}

/// A row an attribute, fixed weights below it, and the tree.
pub(super) fn objectives(found: &Objectives) -> String {
    let rows: String = found.attributes.iter().map(row).collect();
    let fixed = [
        ("the tree", found.tree, None),
        (
            "equal weights",
            found.mean_of_rewards,
            found.mean_of_debiased,
        ),
    ];
    let fixed: String = fixed
        .into_iter()
        .filter(|(_, reward, debiased)| reward.is_some() || debiased.is_some())
        .map(|(name, reward, debiased)| {
            format!(
                "<tr class=\"dim\"><th>{name}</th><td>{}</td><td>{}</td><td></td><td></td></tr>",
                right(reward),
                right(debiased)
            )
        })
        .collect();
    let tree = match &found.printout {
        Some(text) => format!(
            "<h3>The tree <small>of two responses, which is the better one</small></h3><pre>{}</pre>",
            escape(text)
        ),
        None => String::new(),
    };
    format!(
        "<p class=\"dim\">How often the chosen response of a held-out pair has more of each attribute alone, as it is and with the \
         attribute of length taken out; the gate's weight over the prompts, with how much it differs from prompt to prompt; and \
         Spearman's correlation with what is taken out.</p>\
         <div class=\"wide\"><table><thead><tr><th>attribute</th><th>right</th><th>debiased</th><th>weight</th>\
         <th>correlation</th></tr></thead><tbody>{rows}{fixed}</tbody></table></div>{tree}"
    )
}

fn row(of: &Attribute) -> String {
    let correlation = match (of.correlation_before, of.correlation_after) {
        (Some(before), Some(after)) => format!("{before:.2} to {after:.2}"),
        (Some(before), None) => format!("{before:.2}"),
        _ => String::new(),
    };
    format!(
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{} <small>± {}</small></td><td>{correlation}</td></tr>",
        escape(&of.attribute),
        right(of.reward),
        right(of.debiased),
        number(of.gate),
        number(of.gate_spread),
    )
}

fn right(share: Option<Share>) -> String {
    share.map_or(String::new(), |share| percent(share.accuracy))
}
