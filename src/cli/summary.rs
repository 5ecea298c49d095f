//! The end of a run, for a person and for a program.

use super::output;
use crate::error::Result;
use crate::pipeline::Outcome;
use crate::run::{
    History, Layout, Measured, Record, RoundSummary, Sample, accuracies, at_equal_length,
    interval_name, peak_rss_mib,
};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Tables, samples and paths.
pub fn text(outcome: &Outcome) -> String {
    let mut parts = Vec::new();
    if !outcome.rounds.is_empty() {
        parts.push(rounds(&outcome.rounds, output::width()));
    }
    if let Some(measured) = &outcome.measured {
        if !measured.opinions.is_empty() {
            parts.push(opinions(measured, output::width()));
            parts.extend(at_equal_length(&measured.opinions));
        }
        parts.extend(measured.samples.iter().take(3).map(sample));
    }
    let memory = peak_rss_mib().map_or(String::new(), |mib| {
        format!("\nmemory  {mib:.0} MiB at its peak")
    });
    parts.push(format!(
        "model   {}\nreport  {}\ntime    {}{memory}",
        outcome.model.display(),
        outcome.report.display(),
        duration(outcome.seconds)
    ));
    parts.join("\n\n")
}

/// What a program reads: the headline, then everything.
///
/// # Errors
/// Metrics or an accuracy of the run that cannot be read.
pub fn json(outcome: &Outcome) -> Result<Value> {
    let headline = outcome.measured.as_ref().and_then(Measured::headline);
    let training = training(&outcome.run)?;
    let last = |name: &str| {
        training
            .last()
            .and_then(|(_, values)| values.get(name).cloned())
    };
    Ok(json!({
        "win_rate": headline.map(|o| o.win_rate),
        "low": headline.map(|o| o.low),
        "high": headline.map(|o| o.high),
        "confidence": outcome.measured.as_ref().and_then(|m| m.confidence),
        "judge": headline.map(|o| o.judge.clone()),
        "kl": outcome.measured.as_ref().and_then(|m| m.kl),
        "loss": last("loss"),
        "eval_loss": last("eval_loss"),
        "training": Value::Object(training.iter().cloned().map(|(stage, v)| (stage, v.into())).collect()),
        "accuracy": accuracies(&Layout::new(&outcome.run))?,
        "seconds": outcome.seconds,
        "peak_rss_mib": peak_rss_mib(),
        "model": outcome.model,
        "report": outcome.report,
        "run": outcome.run,
        "opinions": outcome.measured.as_ref().map(|m| m.opinions.clone()),
        "rounds": outcome.rounds,
    }))
}

/// What each training stage of the run last recorded, by TRL's names: `loss`, `rewards/accuracies`, and what begins
/// with `eval_` of the held-out rows. The stage that was trained last comes last.
fn training(run: &Path) -> Result<Vec<(String, Map<String, Value>)>> {
    let mut stages: Vec<(String, Map<String, Value>)> = Vec::new();
    for Record {
        stage,
        step,
        values,
        ..
    } in History::read(&Layout::new(run))?.records
    {
        if stage == "rounds" {
            continue;
        }
        let entry = match stages.iter().position(|(known, _)| *known == stage) {
            Some(at) => &mut stages[at].1,
            None => {
                stages.push((stage, Map::new()));
                &mut stages.last_mut().expect("it was just pushed").1
            }
        };
        entry.insert("step".to_owned(), step.into());
        // Held-out rows are evaluated at some steps only: their last numbers stay.
        entry.extend(
            values
                .into_iter()
                .map(|(name, value)| (name, Value::from(value))),
        );
    }
    Ok(stages)
}

fn number(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let text = format!("{value:.digits$}");
    // What rounds to nothing has no sign.
    match text.strip_prefix('-') {
        Some(size) if size.chars().all(|c| matches!(c, '0' | '.')) => size.to_owned(),
        _ => text,
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn rounds(rounds: &[RoundSummary], width: Option<usize>) -> String {
    let interval = interval_name(rounds.iter().find_map(|r| r.confidence));
    let header = [
        "round",
        "reward",
        "top-1",
        "win rate",
        &interval,
        "KL",
        "eval tokens",
        "sample tokens",
        "pairs",
        "time",
    ];
    let row = |r: &RoundSummary| {
        let interval = match (r.low, r.high) {
            (Some(low), Some(high)) => format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high),
            _ => "-".to_owned(),
        };
        vec![
            r.round.to_string(),
            number(r.reward_mean, 3),
            number(r.reward_top1, 3),
            percent(r.win_rate),
            interval,
            number(r.kl.or(r.kl_samples), 2),
            number(r.length_eval, 1),
            number(r.length_samples, 1),
            r.pairs.map_or("-".to_owned(), |pairs| pairs.to_string()),
            duration(r.seconds),
        ]
    };
    let rows: Vec<_> = rounds.iter().map(row).collect();
    let table = output::numbers(&header, &rows, width);
    let sampled = rounds
        .iter()
        .any(|r| r.kl.is_none() && r.kl_samples.is_some());
    let kl = match sampled {
        true => "; KL of a round without evaluation: of the policy that drew its samples",
        false => "",
    };
    format!(
        "{table}\nreward, top-1 and sample tokens: the round's own samples, before it is trained on them; \
         win rate, KL and eval tokens: the evaluation after it, against the starting model{kl}"
    )
}

fn opinions(measured: &Measured, width: Option<usize>) -> String {
    let interval = interval_name(measured.confidence);
    let header = [
        "judge",
        "start",
        "now",
        "win rate",
        &interval,
        "won/tied/lost",
    ];
    let rows: Vec<_> = measured
        .opinions
        .iter()
        .map(|o| {
            vec![
                o.judge.clone(),
                format!("{:.3}", o.before),
                format!("{:.3}", o.after),
                percent(Some(o.win_rate)),
                format!("{:.1} to {:.1} %", 100.0 * o.low, 100.0 * o.high),
                o.counts.map(|count| count.to_string()).join("/"),
            ]
        })
        .collect();
    output::numbers(&header, &rows, width)
}

fn sample(sample: &Sample) -> String {
    let judge = sample.judge.as_deref().unwrap_or("score");
    let score =
        |score: Option<f64>| score.map_or(String::new(), |score| format!(" ({judge} {score:.2})"));
    output::printable(&format!(
        "> {}\nbefore{}: {}\nafter{}: {}",
        sample.prompt.trim(),
        score(sample.score_before),
        sample.before.trim(),
        score(sample.score_after),
        sample.after.trim()
    ))
}

/// Seconds as a person says them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!(
            "{:.0} h {:02.0} min",
            (s / 3600.0).floor(),
            s % 3600.0 / 60.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Opinion;

    fn measured() -> Measured {
        let sample = Sample {
            prompt: "Hi".to_owned(),
            before: "no".to_owned(),
            after: "yes".to_owned(),
            judge: Some("rule".to_owned()),
            score_before: Some(0.25),
            score_after: None,
        };
        let opinion = Opinion {
            judge: "rule".to_owned(),
            before: 0.25,
            after: 0.5,
            win_rate: 0.75,
            low: 0.625,
            high: 0.875,
            counts: [5, 2, 1],
            length_controlled: Some([0.7, 0.6, 0.8]),
        };
        Measured {
            confidence: Some(0.9),
            opinions: vec![opinion],
            samples: vec![sample],
            ..Measured::default()
        }
    }

    #[test]
    fn the_interval_is_called_by_the_recipes_confidence() {
        let table = opinions(&measured(), None);
        assert!(table.contains(" 90 % interval "), "{table}");
        let round = RoundSummary {
            round: 1,
            confidence: Some(0.99),
            ..RoundSummary::default()
        };
        let table = rounds(&[RoundSummary::default(), round], None);
        assert!(table.contains(" 99 % interval "), "{table}");
    }

    #[test]
    fn the_two_lengths_stand_in_columns_of_their_own() {
        let round = RoundSummary {
            length_samples: Some(31.25),
            ..RoundSummary::default()
        };
        let table = rounds(&[round], None);
        let cells = |of: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.contains(of)).unwrap();
            line.split(['│', '┆'])
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let (heads, row) = (cells("win rate"), cells("31.2"));
        let at = |head: &str| &row[heads.iter().position(|known| known == head).unwrap()];
        assert_eq!(
            (at("eval tokens").as_str(), at("sample tokens").as_str()),
            ("-", "31.2")
        );
    }

    #[test]
    fn the_win_rate_at_equal_length_is_said_where_it_is_known() {
        let line = at_equal_length(&measured().opinions).unwrap();
        assert!(line.ends_with("rule: 70.0 % (60.0 to 80.0 %)"), "{line}");
        assert_eq!(at_equal_length(&[]), None);
    }

    #[test]
    fn a_sample_names_the_judge_of_its_scores() {
        let text = sample(&measured().samples[0]);
        assert_eq!(text, "> Hi\nbefore (rule 0.25): no\nafter: yes");
    }
}
