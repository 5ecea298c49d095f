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
    let better = match (sample.reward_before, sample.reward_after) {
        (Some(before), Some(after)) if after > before => " better",
        (Some(before), Some(after)) if after < before => " worse",
        _ => "",
    };
    format!(
        "<article class=\"sample\"><p class=\"prompt\"><span class=\"who\">prompt</span>{}</p>\
         <div class=\"sides\">{}{}</div></article>\n",
        escape(sample.prompt.trim()),
        side("before", "", &sample.before, sample.reward_before),
        side("after", better, &sample.after, sample.reward_after),
    )
}

fn side(who: &str, class: &str, text: &str, reward: Option<f64>) -> String {
    let reward = reward.map(|r| format!("<span class=\"reward\">reward {}</span>", number(r)));
    let text = match text.trim() {
        "" => "<em>(empty)</em>".to_owned(),
        text => escape(text),
    };
    format!(
        "<div class=\"side{class}\"><span class=\"who\">{who}{}</span><p>{text}</p></div>",
        reward.unwrap_or_default()
    )
}
