//! Responses before and after, side by side.

use super::format::{escape, number};
use crate::run::summary::Sample;

/// The page shows this many; the file holds all.
const MOST: usize = 12;

/// The samples, each a card; empty without samples.
pub(super) fn samples(samples: &[Sample]) -> String {
    samples.iter().take(MOST).map(card).collect()
}

fn card(sample: &Sample) -> String {
    let better = match (sample.score_before, sample.score_after) {
        (Some(before), Some(after)) if after > before => " better",
        (Some(before), Some(after)) if after < before => " worse",
        _ => "",
    };
    format!(
        "<article class=\"sample\"><p class=\"prompt\"><span class=\"who\">prompt</span>{}</p>\
         <div class=\"sides\">{}{}</div></article>\n",
        escape(sample.prompt.trim()),
        side(
            "before",
            "",
            &sample.before,
            score(sample, sample.score_before)
        ),
        side(
            "after",
            better,
            &sample.after,
            score(sample, sample.score_after)
        ),
    )
}

/// A score with the judge who gave it.
fn score(sample: &Sample, score: Option<f64>) -> String {
    let judge = escape(sample.judge.as_deref().unwrap_or("score"));
    let score = score.map(|s| format!("<span class=\"score\">{judge} {}</span>", number(s)));
    score.unwrap_or_default()
}

fn side(who: &str, class: &str, text: &str, score: String) -> String {
    let text = match text.trim() {
        "" => "<em>(empty)</em>".to_owned(),
        text => escape(text),
    };
    format!("<div class=\"side{class}\"><span class=\"who\">{who}{score}</span><p>{text}</p></div>")
}
