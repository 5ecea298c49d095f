//! Tables: the rounds, the stages and their times, the machine.

use super::format::{count, duration, escape, moment, number, percent};
use super::read::Facts;
use crate::run::stage::StageRecord;
use crate::run::summary::RoundSummary;

/// A column of the rounds' table: heading, what it says, and how a round fills it.
type Column = (
    &'static str,
    &'static str,
    fn(&RoundSummary) -> Option<String>,
);

const COLUMNS: [Column; 13] = [
    (
        "win rate",
        "share of the evaluation's prompts on which the model beats its start, with its interval",
        |r| {
            let interval = r.win().map(|win| {
                format!(
                    " <small>{:.0}–{:.0}</small>",
                    win.low * 100.0,
                    win.high * 100.0
                )
            });
            Some(percent(r.win_rate?) + &interval.unwrap_or_default())
        },
    ),
    (
        "reward",
        "mean over the round's own samples, drawn before it is trained on them",
        |r| r.reward_mean.map(number),
    ),
    (
        "best of\u{a0}K",
        "mean reward of the best response to each prompt",
        |r| r.reward_top1.map(number),
    ),
    (
        "spread",
        "standard deviation of the rewards of one prompt's responses, on average",
        |r| r.reward_spread.map(number),
    ),
    (
        "KL, eval",
        "how far the policy is from the start after the round, in nats per response",
        |r| r.kl.map(number),
    ),
    (
        "KL, own",
        "the same of the policy that drew the round's own samples, before it is trained on them",
        |r| r.kl_samples.map(number),
    ),
    (
        "length, eval",
        "mean length of the responses to the evaluation's prompts, after the round, in tokens",
        |r| r.length_eval.map(number),
    ),
    (
        "length, own",
        "mean length of the round's own samples, in tokens",
        |r| r.length_samples.map(number),
    ),
    (
        "reward ~ length",
        "their correlation; near 1 the reward may only be counting words",
        |r| r.reward_length_correlation.map(number),
    ),
    (
        "repeats",
        "share of responses that repeat another one to the same prompt",
        |r| r.duplicates.map(percent),
    ),
    (
        "cut",
        "share of responses that reached the length limit",
        |r| r.truncated.map(percent),
    ),
    ("pairs", "preference pairs trained on", |r| {
        r.pairs.map(|pairs| pairs.to_string())
    }),
    ("time", "wall time of the round", |r| {
        Some(duration(r.seconds))
    }),
];

/// One row a round; a column that no round fills is left out.
pub(super) fn rounds(rounds: &[RoundSummary]) -> String {
    let filled: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, _, of)| rounds.iter().any(|round| of(round).is_some()))
        .collect();
    let heads: String = filled
        .iter()
        .map(|(name, says, _)| format!("<th title=\"{says}\">{name}</th>"))
        .collect();
    let rows: String = rounds
        .iter()
        .map(|round| {
            let cells: String = filled
                .iter()
                .map(|(_, _, of)| format!("<td>{}</td>", of(round).unwrap_or_else(|| "–".into())))
                .collect();
            format!("<tr><th>{}</th>{cells}</tr>", round.round)
        })
        .collect();
    let says: String = filled
        .iter()
        .map(|(name, says, _)| format!("<dt>{name}</dt><dd>{says}</dd>"))
        .collect();
    format!(
        "<div class=\"wide\"><table class=\"rounds\"><thead><tr><th>round</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\
         <details><summary>What the columns say</summary><dl class=\"terms\">{says}</dl></details>"
    )
}

/// The stages with their times, each with a bar of its share.
pub(super) fn stages(stages: &[StageRecord]) -> String {
    let total: f64 = stages.iter().map(|stage| stage.seconds).sum();
    let longest = stages
        .iter()
        .fold(0.0, |a: f64, stage| a.max(stage.seconds));
    let rows: String = stages
        .iter()
        .map(|stage| {
            let bar = if longest > 0.0 { stage.seconds / longest * 100.0 } else { 0.0 };
            let time = match stage.done {
                true => duration(stage.seconds),
                false => "not finished".to_owned(),
            };
            let bytes: u64 = stage.files.values().map(|file| file.bytes).sum();
            let files = match stage.files.len() {
                0 => String::new(),
                n => format!("{}, {}", count(n, "file"), size(bytes)),
            };
            format!(
                "<tr><th>{}</th><td>{time}</td><td class=\"bar\"><i style=\"width:{bar:.1}%\"></i></td><td class=\"dim\">{files}</td></tr>",
                escape(&stage.name)
            )
        })
        .collect();
    format!(
        "<div class=\"wide\"><table class=\"stages\"><tbody>{rows}</tbody>\
         <tfoot><tr><th>together</th><td>{}</td><td></td><td></td></tr></tfoot></table></div>",
        duration(total)
    )
}

/// Command, version and machine.
pub(super) fn environment(facts: &Facts) -> String {
    let info = &facts.info;
    let mut rows = vec![("command".to_owned(), info.command.clone())];
    rows.push(("duel".to_owned(), info.version.clone()));
    rows.push(("started".to_owned(), moment(&info.started)));
    rows.extend(
        info.finished
            .as_deref()
            .map(|at| ("ended".to_owned(), moment(at))),
    );
    if info.resumed > 0 {
        rows.push(("resumed".to_owned(), count(info.resumed, "time")));
    }
    rows.extend(info.machine.clone());
    let rows: String = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)))
        .collect();
    format!("<dl class=\"terms\">{rows}</dl>")
}

/// `512 B`, `3.4 MB`.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if size < 9.95 => format!("{size:.1} {}", units[unit]),
        _ => format!("{size:.0} {}", units[unit]),
    }
}
