//! `duel eval`: how often a judge ranks held-out pairs right.

use super::kept::Keeping;
use super::reading::{Reading, file, located};
use super::{Global, numbers, output, setup};
use crate::data::hub::Split;
use crate::data::{LoadOptions, Preference, load_preferences};
use crate::error::{Error, Result};
use crate::eval::statistics::CONFIDENCE;
use crate::eval::{Accuracy, AccuracyReport, PositionBias, ScoredPair};
use crate::judge::{PairwiseModel, TreeModel};
use crate::model::Model;
use crate::pipeline::{examples, multi_objective, pairwise, reward};
use crate::recipe::Overlong;
use crate::run::interval_name;
use clap::Args;
use std::path::{Path, PathBuf};

mod against;
mod bench;

/// Accuracy of a reward model or a pairwise model on pairs, beside the length-only and the random baseline
///
/// Example: duel eval --model runs/my-reward/reward/checkpoint --data held-out.jsonl
#[derive(Debug, Args)]
pub struct Eval {
    /// The reward model
    #[arg(long, required_unless_present = "pairwise")]
    model: Option<String>,
    /// A pairwise preference model instead, asked in both orders
    #[arg(long, value_name = "MODEL", conflicts_with = "model")]
    pairwise: Option<String>,
    /// Pairs that it was not trained on: a file, or a data set of the hub
    #[arg(long, value_parser = file, required_unless_present = "rewardbench")]
    data: Option<PathBuf>,
    /// RewardBench's rows instead (and, for the prior sets, those of preference-test-sets): pairs that name their `subset`, in
    /// files or in a data set of the hub, such as allenai/reward-bench
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "data")]
    rewardbench: Vec<PathBuf>,
    /// A second judge of either kind on the same pairs: who is right more often, with McNemar's exact test
    #[arg(long, value_name = "MODEL", conflicts_with = "rewardbench")]
    against: Option<String>,
    /// Longest prompt with response, in tokens
    #[arg(long, default_value_t = 2048, value_parser = numbers::from_1)]
    max_length: usize,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Read no more pairs than this of each file
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
}

/// What a judge makes of pairs.
struct Judged {
    /// What it is called in a table.
    kind: &'static str,
    pairs: Vec<ScoredPair>,
    /// The probability of the first place in both orders, of a judge that is shown both responses at once.
    both: Vec<[f64; 2]>,
}

impl Judged {
    fn report(&self) -> Result<AccuracyReport> {
        Ok(AccuracyReport {
            position: PositionBias::of(&self.both),
            ..AccuracyReport::of(&self.pairs, CONFIDENCE, 0)?
        })
    }
}

impl Eval {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let rows = self.rows()?;
        let judged = match (&self.pairwise, &self.model) {
            (Some(name), _) => {
                let model = setup::model(name, global, self.keeping)?;
                self.by_pairs(&model, name, &rows)?
            }
            (None, name) => {
                let model =
                    setup::model(name.as_deref().unwrap_or_default(), global, self.keeping)?;
                self.by_rewards(&model, &rows)?
            }
        };
        if let Some(other) = &self.against {
            let model = setup::model(other, global, self.keeping)?;
            let second = match model.is_reward_model() {
                true => self.by_rewards(&model, &rows)?,
                false => {
                    output::note(&format!(
                        "{other} has no score head: it is asked as a pairwise model, which of two responses is the better"
                    ));
                    setup::warn_of_other_stage(other, "pairwise");
                    self.by_pairs(&model, other, &rows)?
                }
            };
            return against::show([&judged, &second], global);
        }
        let found = judged.report()?;
        match (self.rewardbench.is_empty(), global.json) {
            (false, _) => bench::show(&found, judged.kind, global),
            (true, true) => output::json(&found),
            (true, false) => show(&found, judged.kind),
        }
    }

    fn rows(&self) -> Result<Vec<Preference>> {
        let name = self.data.as_ref().or(self.rewardbench.first());
        let mut options = LoadOptions {
            limit: self.limit,
            ..self
                .reading
                .options_of(name.map_or(Path::new(""), PathBuf::as_path))
        };
        let files = match &self.data {
            Some(data) => located(std::slice::from_ref(data), &Split::TEST)?,
            None => {
                // RewardBench's prompts are users' turns, written as text.
                options.text_as_chat = true;
                located(&self.rewardbench, &Split::Among(&["filtered"]))?
            }
        };
        refuse_twice(&files)?;
        let mut rows = Vec::new();
        // Each file for itself: a limit that the first one reached would leave nothing of the prior sets.
        options.allow_none = files.len() > 1;
        for (number, file) in files.iter().enumerate() {
            let (read, report) = load_preferences(std::slice::from_ref(file), &options)?;
            output::report(&report);
            let named = |mut row: Preference| {
                if files.len() > 1 {
                    row.id = format!("{}:{}", number + 1, row.id);
                }
                row
            };
            rows.extend(read.into_iter().map(named));
        }
        match rows.is_empty() {
            true => Err(Error::data("none of the files has a pair that can be read")
                .hint("`duel data check FILE` says what is in a file")),
            false => Ok(rows),
        }
    }

    fn by_rewards(&self, model: &Model, rows: &[Preference]) -> Result<Judged> {
        setup::warn_of_plain_text(&model.chat, rows.iter().map(|row| &row.prompt))?;
        let (max_length, budget) = (self.max_length, self.max_tokens_per_batch);
        Ok(Judged {
            kind: "reward model",
            pairs: reward::scored(model, rows, max_length, budget)?,
            both: Vec::new(),
        })
    }

    fn by_pairs(&self, model: &Model, name: &str, rows: &[Preference]) -> Result<Judged> {
        let (max_length, budget) = (self.max_length, self.max_tokens_per_batch);
        if let Some(judge) = TreeModel::of(model, max_length, budget)? {
            return Ok(Judged {
                kind: "decision tree",
                pairs: multi_objective::scored(&judge, model, rows, max_length)?,
                both: Vec::new(),
            });
        }
        model.must_write(name)?;
        let limits = examples::limits(self.max_length, Overlong::TruncatePrompt, model);
        let mut judge = PairwiseModel::new(model, limits, self.max_tokens_per_batch)?;
        let (pairs, both) = pairwise::scored(&mut judge, &model.chat, rows)?;
        Ok(Judged {
            kind: "pairwise model",
            pairs,
            both,
        })
    }
}

/// Refuses a file that is named twice: its pairs would count double.
fn refuse_twice(files: &[PathBuf]) -> Result<()> {
    for (at, file) in files.iter().enumerate() {
        if files[..at].iter().any(|other| output::is_same(other, file)) {
            let fact = format!(
                "{} is named twice: its pairs would count double",
                file.display()
            );
            return Err(Error::user(fact).hint("name each file once"));
        }
    }
    Ok(())
}

/// A row of a table of accuracies.
fn row(name: &str, a: &Accuracy) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.1} %", 100.0 * a.accuracy),
        format!("{:.1} to {:.1} %", 100.0 * a.low, 100.0 * a.high),
        a.pairs.to_string(),
        a.ties.to_string(),
    ]
}

/// Prints a report.
fn show(found: &AccuracyReport, judge: &str) -> Result<()> {
    let interval = interval_name(Some(found.confidence));
    let mut rows = vec![
        row(judge, &found.judge),
        row("the longer response", &found.length_only),
        row("a coin", &found.random),
    ];
    let subsets = found.subsets.iter();
    rows.extend(subsets.map(|(name, accuracy)| row(&format!("{judge}: {name}"), accuracy)));
    output::print(&output::table(
        &["judge", "right", &interval, "pairs", "ties"],
        rows,
    ))?;
    show_biases(found)
}

/// Prints what the judge goes by beside the response.
fn show_biases(found: &AccuracyReport) -> Result<()> {
    if let Some(drawn) = found.bootstrap {
        output::print(&format!(
            "pairs drawn again (bootstrap): {:.1} to {:.1} %",
            100.0 * drawn.low,
            100.0 * drawn.high
        ))?;
    }
    let of = |part: Option<Accuracy>| match part {
        Some(a) => format!("{:.1} % of {}", 100.0 * a.accuracy, a.pairs),
        None => "none".to_owned(),
    };
    let correlation = found.length.pearson;
    output::print(&format!(
        "right where the chosen response is the longer one: {}; where the rejected one is: {}; score and length correlate at {}",
        of(found.length.chosen_longer),
        of(found.length.rejected_longer),
        correlation.map_or("-".to_owned(), |rho| format!("{rho:.2}"))
    ))?;
    let Some(position) = found.position else {
        return Ok(());
    };
    output::print(&format!(
        "the first place has probability {:.3} in the mean; the other order turns {:.1} % of the pairs over; one order \
         alone is right on {:.1} %",
        position.first_place,
        100.0 * position.turned_over,
        100.0 * position.one_order
    ))
}
