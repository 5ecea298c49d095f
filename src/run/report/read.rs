//! Everything the page shows, read from the files of the run.

use super::labels::Iteration;
use super::objectives::Objectives;
use crate::error::{Error, Result};
use crate::run::accuracy::{RANKING_STAGES, VERIFIER_STAGE};
use crate::run::info::RunInfo;
use crate::run::journal::read_rows;
use crate::run::layout::Layout;
use crate::run::metrics::History;
use crate::run::stage::{StageRecord, stages};
use crate::run::summary::{Measured, RoundSummary, Sample, read_json};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;

/// A run, read.
pub(super) struct Facts {
    pub name: String,
    pub info: RunInfo,
    pub recipe: String,
    pub history: History,
    pub stages: Vec<StageRecord>,
    pub rounds: Vec<RoundSummary>,
    /// What was measured against the start, in order.
    pub evaluations: Vec<Evaluation>,
    /// The reward models on held-out pairs, by the stages that trained them.
    pub accuracies: Vec<(&'static str, HeldOut)>,
    /// What the attributes of a multi-objective model come to.
    pub objectives: Option<Objectives>,
    /// What a pairwise model labelled by itself.
    pub labelled: Vec<Iteration>,
    /// The verifier on held-out labels.
    pub verdicts: Option<Verdicts>,
    pub scores: Vec<Scores>,
    pub samples: Vec<Sample>,
    /// The round the samples are from; none for a run without rounds.
    pub samples_round: Option<usize>,
    /// What could not be read, for the page's foot.
    pub notes: Vec<String>,
}

/// One evaluation against the start.
pub(super) struct Evaluation {
    /// The round after which it was made; none for that of a whole run.
    pub round: Option<usize>,
    pub measured: Measured,
}

/// The part of a reward model's `-eval.json` that the page needs.
#[derive(Debug, Deserialize)]
pub(super) struct HeldOut {
    #[serde(default)]
    pub confidence: Option<f64>,
    pub judge: Share,
    pub length_only: Share,
    pub random: Share,
}

/// The other part of that file of a multi-objective model.
#[derive(Deserialize)]
struct OfObjectives {
    objectives: Objectives,
}

/// How many of the pairs were put in the right order: 0 to 1, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Share {
    pub accuracy: f64,
    pub low: f64,
    pub high: f64,
    pub pairs: usize,
    pub ties: usize,
}

/// The part of a verifier's `-eval.json` that the page needs: shares of labels, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Verdicts {
    #[serde(default)]
    pub confidence: Option<f64>,
    pub accuracy: f64,
    pub low: f64,
    pub high: f64,
    /// Of always saying what is said of most.
    pub majority: f64,
    /// None where all labels are the same.
    pub auc: Option<f64>,
    pub labels: usize,
    pub positive: usize,
    /// Labels between 0 and 1, which are not counted.
    pub undecided: usize,
}

/// All responses of a round.
pub(super) struct Scores {
    pub round: usize,
    pub rewards: Vec<f64>,
    pub lengths: Vec<f64>,
    /// What a length counts: tokens where the file has them, else words.
    pub unit: &'static str,
}

/// The part of a row of `scores.jsonl` that the page needs.
#[derive(Deserialize)]
struct ScoredRow {
    #[serde(default)]
    responses: Vec<String>,
    #[serde(default)]
    rewards: Vec<Option<f64>>,
    /// Response lengths in tokens, where the generator wrote them.
    #[serde(default)]
    tokens: Vec<f64>,
}

impl Facts {
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let mut notes = Notes::default();
        let stages = notes.take(stages(layout));
        let stale: BTreeSet<&str> = stages
            .iter()
            .filter(|record| record.stale)
            .map(|record| record.name.as_str())
            .collect();
        let mut history = notes.take(History::read(layout));
        history
            .records
            .retain(|r| !stale.contains(r.stage.as_str()));
        history
            .diagnoses
            .retain(|d| !stale.contains(d.stage.as_str()));

        let (mut rounds, mut scores, mut samples, mut samples_round) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        let (mut evaluations, mut accuracies) = (Vec::new(), Vec::new());
        for round in notes.take(layout.rounds()) {
            let fresh = |part: &str| !stale.contains(round.stage(part).as_str());
            if fresh("eval") {
                rounds.extend(notes.take(RoundSummary::read(&round.eval())));
                let measured = notes.take(read_json(&layout.evaluation(&round.stage("eval"))));
                let round_of = |measured| Evaluation {
                    round: Some(round.number()),
                    measured,
                };
                evaluations.extend(measured.map(round_of));
                let of_round = notes.take(read_rows::<Sample>(&round.samples()));
                if !of_round.is_empty() {
                    (samples, samples_round) = (of_round, Some(round.number()));
                }
            }
            if fresh("scores") {
                let rows = notes.take(read_rows(&round.scores()));
                scores.extend(Scores::of(round.number(), &rows));
            }
        }
        if !stale.contains("eval") {
            let measured = notes.take(read_json(&layout.evaluation("eval")));
            evaluations.extend(measured.map(|measured| Evaluation {
                round: None,
                measured,
            }));
        }
        if samples.is_empty() {
            samples = notes.take(read_rows(&layout.samples()));
        }
        for stage in RANKING_STAGES {
            if !stale.contains(format!("{stage}-eval").as_str()) {
                // `null` where there were no held-out pairs.
                let held_out: Option<Option<HeldOut>> =
                    notes.take(read_json(&layout.accuracy(stage)));
                accuracies.extend(held_out.flatten().map(|held_out| (stage, held_out)));
            }
        }
        let objectives: Option<Option<OfObjectives>> = match stale.contains("multi-objective-eval")
        {
            true => None,
            false => notes.take(read_json(&layout.accuracy("multi-objective"))),
        };
        let labelled: Option<Vec<Iteration>> = match stale.contains("pairwise") {
            true => None,
            false => notes.take(read_json(&layout.pseudo_labels())),
        };
        let mut verdicts = None;
        if !stale.contains(format!("{VERIFIER_STAGE}-eval").as_str()) {
            let held_out: Option<Option<Verdicts>> =
                notes.take(read_json(&layout.accuracy(VERIFIER_STAGE)));
            verdicts = held_out.flatten();
        }
        let recipe = layout.recipe();
        let recipe = fs::read_to_string(&recipe).map_err(|e| Error::io(&recipe, "read", e));
        Ok(Self {
            name: layout.name(),
            info: RunInfo::read(layout)?,
            recipe: notes.take(recipe),
            history,
            rounds,
            evaluations,
            accuracies,
            objectives: objectives.flatten().map(|of| of.objectives),
            labelled: labelled.unwrap_or_default(),
            verdicts,
            scores,
            samples,
            samples_round,
            notes: notes.0,
            stages: stages.into_iter().filter(|record| !record.stale).collect(),
        })
    }
}

/// Collects what failed, so that one broken file does not cost the page.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn take<T: Default>(&mut self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| {
            self.0.push(error.message);
            T::default()
        })
    }
}

impl Scores {
    fn of(round: usize, rows: &[ScoredRow]) -> Option<Self> {
        let rewards: Vec<f64> = rows
            .iter()
            .flat_map(|row| row.rewards.iter().flatten().copied())
            .filter(|reward| reward.is_finite())
            .collect();
        let in_tokens = rows
            .iter()
            .all(|row| row.tokens.len() == row.responses.len());
        let words = |text: &String| text.split_whitespace().count() as f64;
        let lengths = match in_tokens {
            true => rows.iter().flat_map(|row| row.tokens.clone()).collect(),
            false => rows
                .iter()
                .flat_map(|row| row.responses.iter().map(words))
                .collect(),
        };
        (!rows.is_empty()).then_some(Self {
            round,
            rewards,
            lengths,
            unit: if in_tokens { "tokens" } else { "words" },
        })
    }
}
