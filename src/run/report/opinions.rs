//! What every judge says of every evaluated policy against the start.

use super::format::{escape, number, percent};
use super::headline::track;
use super::read::Evaluation;
use crate::run::summary::{Measured, Opinion, at_equal_length, interval_name};

/// One row a judge, one group of rows an evaluation; empty when no judge was asked.
pub(super) fn opinions(evaluations: &[Evaluation]) -> String {
    let asked: Vec<&Evaluation> = evaluations
        .iter()
        .filter(|evaluation| !evaluation.measured.opinions.is_empty())
        .collect();
    let Some(last) = asked.last() else {
        return String::new();
    };
    let interval = interval_name(last.measured.confidence);
    let groups: String = asked.iter().map(|evaluation| group(evaluation)).collect();
    format!(
        "<p class=\"dim\">Every judge scores the start's responses and the policy's to the same prompts; the higher \
         score wins the prompt, and a tie counts half. The first judge is the headline.</p>\
         <div class=\"wide\"><table class=\"opinions\"><thead><tr><th>after</th><th>judge</th><th>start</th>\
         <th>now</th><th>win rate</th><th>{interval}</th><th></th><th>won</th><th>tied</th><th>lost</th></tr></thead>\
         {groups}</table></div>{}{}",
        lengths(&asked),
        equal_lengths(last)
    )
}

fn group(evaluation: &Evaluation) -> String {
    let measured = &evaluation.measured;
    let rows: String = measured
        .opinions
        .iter()
        .enumerate()
        .map(|(index, opinion)| {
            let head = match index {
                0 => format!(
                    "<th rowspan=\"{}\">{}</th>",
                    measured.opinions.len(),
                    after(evaluation)
                ),
                _ => String::new(),
            };
            format!("<tr>{head}{}</tr>", cells(measured, opinion))
        })
        .collect();
    format!("<tbody>{rows}</tbody>")
}

fn cells(measured: &Measured, opinion: &Opinion) -> String {
    let win = measured.win(opinion);
    let rate = match win.is_decided() {
        true => format!("<b>{}</b>", percent(win.rate)),
        false => percent(win.rate),
    };
    let [won, tied, lost] = opinion.counts;
    format!(
        "<td class=\"judge\">{}</td><td>{}</td><td>{}</td><td>{rate}</td><td>{} to {}</td><td class=\"small\">{}</td>\
         <td>{won}</td><td>{tied}</td><td>{lost}</td>",
        escape(&opinion.judge),
        number(opinion.before),
        number(opinion.after),
        percent(win.low),
        percent(win.high),
        track(win),
    )
}

/// The evaluations' lengths in a sentence: a judge may pay for words.
fn lengths(evaluations: &[&Evaluation]) -> String {
    let now: Vec<String> = evaluations
        .iter()
        .map(|evaluation| {
            let length = number(evaluation.measured.length_after);
            format!("<b>{length}</b> after {}", after(evaluation))
        })
        .collect();
    let start = evaluations
        .first()
        .map_or(f64::NAN, |evaluation| evaluation.measured.length_before);
    format!(
        "<p class=\"dim lengths\">Mean length of these responses in tokens: <b>{}</b> at the start, {}.</p>",
        number(start),
        now.join(", ")
    )
}

/// What the last evaluation says of responses of one length.
fn equal_lengths(last: &Evaluation) -> String {
    at_equal_length(&last.measured.opinions).map_or(String::new(), |line| {
        format!(
            "<p class=\"dim lengths\">After {}: {}.</p>",
            after(last),
            escape(&line)
        )
    })
}

fn after(evaluation: &Evaluation) -> String {
    match evaluation.round {
        Some(round) => format!("round {round}"),
        None => "training".to_owned(),
    }
}
