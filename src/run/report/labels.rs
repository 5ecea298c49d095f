//! What a pairwise model labelled by itself in each iteration (SSRM), and how often it was right where the file names the winner.

use super::format::percent;
use super::read::Share;
use serde::Deserialize;

/// One iteration of `pairwise-ssrm.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Iteration {
    iteration: usize,
    unlabelled: usize,
    kept: usize,
    precision: Option<Share>,
}

/// A row an iteration.
pub(super) fn labels(found: &[Iteration]) -> String {
    let row = |of: &Iteration| {
        let right = of.precision.map_or(String::new(), |right| {
            format!(
                "{} <small>{} to {}</small>",
                percent(right.accuracy),
                percent(right.low),
                percent(right.high)
            )
        });
        format!(
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{right}</td></tr>",
            of.iteration, of.unlabelled, of.kept
        )
    };
    let rows: String = found.iter().map(row).collect();
    format!(
        "<p class=\"dim\">Of the pairs without labels, those that the model was sure of and learnt from next; right where the file says \
         which response is the better one, which the training does not look at.</p>\
         <div class=\"wide\"><table><thead><tr><th>iteration</th><th>pairs</th><th>kept</th><th>right</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}
