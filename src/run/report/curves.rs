//! Which numbers become which chart: over the steps of each stage, and over the rounds.

use super::charts::{Across, Chart, Series};
use super::format::escape;
use crate::run::metrics::Record;
use crate::run::summary::RoundSummary;

/// ln 2: the loss of a preference model, or of a DPO policy, that has learnt nothing.
const NOTHING_LEARNT: f64 = std::f64::consts::LN_2;

/// The charts that come first, in this order: a title, and the metrics drawn in it. The metrics of an
/// evaluation (`eval_...`) are drawn with those of training.
const FIRST: [(&str, &[&str]); 9] = [
    ("loss", &["loss"]),
    ("accuracy", &["accuracy"]),
    ("accuracy", &["rewards/accuracies"]),
    ("token accuracy", &["mean_token_accuracy"]),
    ("margin", &["margin"]),
    ("margin", &["rewards/margins"]),
    ("implicit reward", &["rewards/chosen", "rewards/rejected"]),
    ("gradient norm", &["grad_norm"]),
    ("learning rate", &["learning_rate"]),
];

/// Counters say nothing as a curve.
const LEFT_OUT: [&str; 3] = ["epoch", "num_tokens", "num_input_tokens_seen"];

/// The charts of one stage, the rest of its metrics folded below.
pub(super) fn stage(records: &[&Record]) -> String {
    let names = names(records);
    let mut shown: Vec<&str> = Vec::new();
    let mut first = String::new();
    for (title, metrics) in FIRST {
        let wanted: Vec<&str> = metrics.iter().flat_map(|m| with_eval(m, &names)).collect();
        if let Some(figure) = chart(title, &wanted, records).draw() {
            first.push_str(&figure);
        }
        shown.extend(wanted);
    }
    let rest: String = names
        .iter()
        .filter(|name| !shown.contains(name) && !LEFT_OUT.contains(name))
        .filter_map(|name| chart(name, &[name], records).draw())
        .collect();
    let mut html = format!("<div class=\"charts\">{first}</div>");
    if !rest.is_empty() {
        html.push_str(&format!(
            "<details><summary>More curves</summary><div class=\"charts\">{rest}</div></details>"
        ));
    }
    html
}

/// The charts over the rounds.
pub(super) fn rounds(rounds: &[RoundSummary]) -> String {
    let over = |of: fn(&RoundSummary) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |r: &RoundSummary| Some((r.round as f64, of(r)?));
        rounds.iter().filter_map(point).collect()
    };
    let line = |title, of| Chart::line(title, Across::Rounds, over(of));

    let mut win = line("win rate against the start", |r| r.win_rate);
    win.share = true;
    win.level = Some((0.5, "a draw"));
    win.intervals = rounds
        .iter()
        .filter_map(|r| r.win().map(|win| (r.round as f64, win.low, win.high)))
        .collect();
    let two = |title, names: [&str; 2], of: [fn(&RoundSummary) -> Option<f64>; 2]| {
        let mut chart = Chart::line(title, Across::Rounds, Vec::new());
        let lines = names.into_iter().zip(of).map(|(name, of)| Series {
            name: name.to_owned(),
            points: over(of),
        });
        chart.series = lines.filter(|line| !line.points.is_empty()).collect();
        if let [only] = &chart.series[..] {
            // A line alone has no key beside it: the title says which one it is.
            chart.title = format!("{title}: {}", only.name);
        }
        chart
    };
    let reward = [
        |r: &RoundSummary| r.reward_mean,
        |r: &RoundSummary| r.reward_top1,
    ];
    let reward = two("reward", ["mean", "best of K"], reward);
    let spoilt = [
        |r: &RoundSummary| r.duplicates,
        |r: &RoundSummary| r.truncated,
    ];
    let mut spoilt = two("responses", ["repeats", "cut"], spoilt);
    spoilt.share = true;
    let distances = [|r: &RoundSummary| r.kl, |r: &RoundSummary| r.kl_samples];
    let kl = two("KL from the start", ["eval", "samples"], distances);
    let lengths = [
        |r: &RoundSummary| r.length_eval,
        |r: &RoundSummary| r.length_samples,
    ];
    let length = two("tokens", ["eval", "samples"], lengths);
    let follows = line("reward ~ length", |r| r.reward_length_correlation);
    let charts = [win, reward, kl, length, follows, spoilt];
    let figures = charts.into_iter().filter_map(Chart::draw);
    format!(
        "<div class=\"charts\">{}</div>",
        figures.collect::<String>()
    )
}

/// The metric and its evaluation, as far as the stage has them.
fn with_eval<'a>(metric: &str, names: &[&'a str]) -> Vec<&'a str> {
    let is = |name: &str| name.strip_prefix("eval_").unwrap_or(name) == metric;
    names.iter().copied().filter(|name| is(name)).collect()
}

/// All metric names of a stage, in the order in which they first came.
fn names<'a>(records: &[&'a Record]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| &record.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn chart(title: &str, metrics: &[&str], records: &[&Record]) -> Chart {
    let several = metrics.len() > 1;
    let series = metrics.iter().map(|metric| Series {
        name: short(metric, several).to_owned(),
        points: points(metric, records),
    });
    let across = match title {
        "learning rate" => Across::Schedule,
        _ => Across::Steps,
    };
    let mut chart = Chart::line(title, across, Vec::new());
    chart.series = series.collect();
    chart.share = title.ends_with("accuracy");
    chart.level = level(title, records);
    chart
}

/// Chance, for losses and accuracies of stages that learn from pairs.
fn level(title: &str, records: &[&Record]) -> Option<(f64, &'static str)> {
    let of_pairs = |name: &&str| ["accuracy", "rewards/accuracies"].contains(name);
    if !names(records).iter().any(of_pairs) {
        return None;
    }
    match title {
        "loss" => Some((NOTHING_LEARNT, "ln 2")),
        "accuracy" => Some((0.5, "chance")),
        _ => None,
    }
}

/// How a line is called in the chart's caption.
fn short(metric: &str, several: bool) -> &str {
    match metric {
        metric if !several => metric,
        metric if metric.ends_with("/chosen") => "chosen",
        metric if metric.ends_with("/rejected") => "rejected",
        metric if metric.starts_with("eval_") => "held out",
        _ => "training",
    }
}

fn points(metric: &str, records: &[&Record]) -> Vec<(f64, f64)> {
    let of = |record: &&Record| {
        let value = record.values.iter().find(|(name, _)| name == metric)?;
        Some((record.step as f64, value.1))
    };
    records.iter().filter_map(of).collect()
}

/// The stages that recorded numbers, each with its records, in the order of the file.
pub(super) fn by_stage(records: &[Record]) -> Vec<(String, Vec<&Record>)> {
    let mut stages: Vec<(String, Vec<&Record>)> = Vec::new();
    for record in records {
        match stages.iter_mut().find(|(name, _)| *name == record.stage) {
            Some((_, of_stage)) => of_stage.push(record),
            None => stages.push((record.stage.clone(), vec![record])),
        }
    }
    stages
}

/// The heading of a stage's charts.
pub(super) fn heading(stage: &str, records: &[&Record]) -> String {
    let last = records.iter().map(|record| record.step).max().unwrap_or(0);
    format!("<h3>{} <small>to step {last}</small></h3>", escape(stage))
}
