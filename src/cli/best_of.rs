//! `duel best-of`: how good the answer is that a judge picks of N.

use super::kept::Keeping;
use super::reading::{self, Reading, file};
use super::steps::separator;
use super::{Global, numbers, output, setup};
use crate::data::{LoadOptions, Needs, Problem, load_problems};
use crate::error::{Error, Result};
use crate::eval::best_of::Picked;
use crate::eval::{Attempts, BestOf};
use crate::judge::{Opinion, RewardJudge, Rule, Verifier};
use crate::pipeline::examples;
use crate::recipe::{Aggregate, Overlong};
use crate::text::{Prompt, final_answer};
use crate::trie::Sequence;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::HashSet;
use std::path::PathBuf;

/// Best-of-N: the answers that judges pick of the first N, beside a random one, the most frequent and the best
///
/// Rows have a `prompt` and `responses` (or `answers`), and `labels` that say which are right, the right `answer`, or the
/// `rewards` of a gold judge. Each judge given is a column.
///
/// Example: duel best-of --process runs/prm/verifier/checkpoint --data answers.jsonl
#[derive(Debug, Args)]
pub struct BestOfN {
    /// A process reward model: it scores every step
    #[arg(long, value_name = "MODEL")]
    process: Option<String>,
    /// An outcome reward model that answers + or - once
    #[arg(long, value_name = "MODEL")]
    outcome: Option<String>,
    /// A reward model with a score head: Bradley-Terry or a scalar outcome model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// A rule, as in `duel judge`
    #[arg(long)]
    rule: Option<String>,
    /// How the scores of the steps become one
    #[arg(long, default_value = "mean", requires = "process")]
    aggregate: Aggregate,
    /// What stands between two steps; \n is a line break
    #[arg(long, default_value = r"\n\n", value_parser = separator)]
    separator: String,
    /// Problems with their answers, in a file or a data set of the hub
    #[arg(long, value_parser = file)]
    data: PathBuf,
    /// The Ns; without it, 1, 2, 4 and so on
    #[arg(short, long, value_delimiter = ',', value_parser = numbers::from_1)]
    n: Vec<usize>,
    /// Write the score of every answer, and of its steps, to this file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replace the file that `--out` names
    #[arg(long, requires = "out")]
    force: bool,
    /// Longest problem with an answer, in tokens; a longer answer is not picked
    #[arg(long, default_value_t = 2048, value_parser = numbers::from_1)]
    max_length: usize,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Read no more rows than this
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
}

impl ValueEnum for Aggregate {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Mean, Self::Min, Self::Product, Self::Last]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Product => "product",
            Self::Last => "last",
        }))
    }
}

/// What one judge gave.
struct Column {
    name: &'static str,
    /// Of each problem, of each answer.
    scores: Vec<Vec<Option<f64>>>,
    /// The same, step by step, of a judge that goes by steps.
    steps: Option<Vec<Vec<Option<Vec<f64>>>>>,
}

/// A line of `--out`.
#[derive(Serialize)]
struct ScoredRow<'a> {
    id: &'a str,
    judge: &'static str,
    scores: &'a [Option<f64>],
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<&'a [Option<Vec<f64>>]>,
    gold: &'a [f64],
}

/// Says how many answers come to none, where the right one is known.
fn tell_of_no_answer(problems: &[Problem], attempts: &[Attempts]) {
    let known = problems.iter().zip(attempts);
    let known = known.filter(|(problem, _)| problem.answer.is_some());
    let texts: Vec<&String> = known.flat_map(|(_, attempts)| &attempts.texts).collect();
    let silent = texts
        .iter()
        .filter(|text| final_answer(text).is_none())
        .count();
    if silent > 0 {
        output::note(&format!(
            "{silent} of {} answers come to no result: they count as wrong and have no vote",
            texts.len()
        ));
    }
}

impl BestOfN {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        if let Some(out) = &self.out {
            output::check_free(out, &self.data, self.force)?;
        }
        let options = LoadOptions {
            limit: self.limit,
            needs: Needs::Truth,
            ..self.reading.options_of(&self.data)
        };
        let (problems, report) = load_problems(&reading::rows(&self.data)?, &options)?;
        output::report(&report);
        let attempts: Vec<Attempts> = problems.iter().map(attempts).collect::<Result<_>>()?;
        let columns = self.columns(&problems, &attempts, global)?;
        self.tell_of_silence(&columns);
        tell_of_no_answer(&problems, &attempts);
        if let Some(out) = &self.out {
            crate::run::write_rows(out, &rows(&problems, &attempts, &columns))?;
        }
        let scores: Vec<_> = columns.iter().map(|column| column.scores.clone()).collect();
        let curve = self.curve(&attempts, &scores)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        match global.json {
            true => output::json(&serde_json::json!({"judges": names, "curve": curve})),
            false => print(&names, &curve),
        }
    }

    /// Says how many answers a judge could not read.
    fn tell_of_silence(&self, columns: &[Column]) {
        for column in columns {
            let scores = || column.scores.iter().flatten();
            let silent = scores().filter(|score| score.is_none()).count();
            if silent == 0 {
                continue;
            }
            let what = match silent == scores().count() {
                true => "picks none, so it has no number",
                false => "does not pick them",
            };
            output::note(&format!(
                "{silent} answers are longer than {} tokens with their problem: {} {what}",
                self.max_length, column.name
            ));
        }
    }

    /// What comes of each N, after saying which rows and which N stand in no number.
    fn curve(
        &self,
        attempts: &[Attempts],
        scores: &[Vec<Vec<Option<f64>>>],
    ) -> Result<Vec<BestOf>> {
        let most = attempts.iter().map(|a| a.texts.len()).max().unwrap_or(0);
        let mut ns = self.n.clone();
        if ns.is_empty() {
            let powers = (0..).map(|power| 1 << power);
            ns = powers.take_while(|n| *n <= most).collect();
        }
        let mut seen = HashSet::new();
        ns.retain(|n| seen.insert(*n));
        let confidence = crate::eval::statistics::CONFIDENCE;
        let mut curve = Vec::new();
        let mut nobody = Vec::new();
        let mut fewer = Vec::new();
        for n in ns {
            let Some(point) = BestOf::of(n, attempts, scores, confidence) else {
                nobody.push(n.to_string());
                continue;
            };
            let missing = attempts.len() - point.problems;
            if missing > 0 {
                fewer.push(format!("{missing} for N = {n}"));
            }
            curve.push(point);
        }
        if curve.is_empty() {
            return Err(
                Error::data(format!("no row has as many answers: the most is {most}"))
                    .hint("lower -n, or draw more: `duel generate -k`"),
            );
        }
        if !nobody.is_empty() {
            output::note(&format!(
                "no row has {} answers, the most is {most}: that N is left out",
                nobody.join(" or ")
            ));
        }
        if !fewer.is_empty() {
            output::note(&format!(
                "rows with fewer than N answers do not count for it: {} of {}",
                fewer.join(", "),
                attempts.len()
            ));
        }
        Ok(curve)
    }

    fn columns(
        &self,
        problems: &[Problem],
        attempts: &[Attempts],
        global: &Global,
    ) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        let verifiers = [
            ("process", &self.process, Some(self.separator.clone())),
            ("outcome", &self.outcome, None),
        ];
        for (name, model, separator) in verifiers {
            if let Some(model) = model {
                setup::warn_of_other_stage(model, "verifier");
                let model = setup::model(model, global, self.keeping)?;
                let (length, budget) = (self.max_length, self.max_tokens_per_batch);
                let verifier = Verifier::new(&model, separator, self.aggregate, length, budget)?;
                columns.push(by_verifier(name, &verifier, problems, attempts)?);
            }
        }
        if let Some(name) = &self.model {
            columns.push(self.by_reward(name, problems, attempts, global)?);
        }
        if let Some(rule) = &self.rule {
            let rule: Rule = rule.parse()?;
            columns.push(by_rule(&rule, problems, attempts)?);
        }
        Ok(columns)
    }

    /// By a score head. Answers too long have no score.
    fn by_reward(
        &self,
        name: &str,
        problems: &[Problem],
        attempts: &[Attempts],
        global: &Global,
    ) -> Result<Column> {
        let model = setup::model(name, global, self.keeping)?;
        setup::warn_of_plain_text(&model.chat, problems.iter().map(|row| &row.prompt))?;
        let limits = examples::limits(self.max_length, Overlong::Drop, &model);
        let judge = RewardJudge::new(&model, self.max_length, self.max_tokens_per_batch)?;
        let mut fitting: Vec<(&str, Vec<Sequence>)> = Vec::new();
        let mut scores: Vec<Vec<Option<f64>>> = Vec::new();
        let mut places = Vec::new();
        for (at, (problem, attempts)) in problems.iter().zip(attempts).enumerate() {
            scores.push(vec![None; attempts.texts.len()]);
            for (i, text) in attempts.texts.iter().enumerate() {
                let sequence = judge.sequence(&problem.prompt, text, &limits);
                if let Ok(sequence) = sequence.map_err(|e| e.at(&problem.origin))? {
                    fitting.push((&problem.id, vec![sequence]));
                    places.push((at, i));
                }
            }
        }
        let named: Vec<(&str, &[Sequence])> = fitting
            .iter()
            .map(|(id, one)| (*id, one.as_slice()))
            .collect();
        judge.rewards(&named, 0, &mut |at, rewards| {
            let (problem, answer) = places[at];
            scores[problem][answer] = rewards.first().map(|reward| f64::from(*reward));
            Ok(())
        })?;
        Ok(Column {
            name: "reward",
            scores,
            steps: None,
        })
    }
}

fn by_verifier(
    name: &'static str,
    verifier: &Verifier,
    problems: &[Problem],
    attempts: &[Attempts],
) -> Result<Column> {
    let split = |attempts: &Attempts| {
        attempts
            .texts
            .iter()
            .map(|text| verifier.split(text))
            .collect()
    };
    let asked: Vec<(&Prompt, Vec<Vec<String>>)> = problems
        .iter()
        .zip(attempts)
        .map(|(problem, attempts)| (&problem.prompt, split(attempts)))
        .collect();
    let mut steps = Vec::with_capacity(problems.len());
    verifier.probabilities(&asked, 0, &mut |_, found| {
        steps.push(found);
        Ok(())
    })?;
    let score = |steps: &Option<Vec<f64>>| Some(verifier.score(steps.as_ref()?));
    let scores = steps
        .iter()
        .map(|of: &Vec<_>| of.iter().map(score).collect())
        .collect();
    Ok(Column {
        name,
        scores,
        steps: Some(steps),
    })
}

fn by_rule(rule: &Rule, problems: &[Problem], attempts: &[Attempts]) -> Result<Column> {
    let mut scores = Vec::with_capacity(problems.len());
    for (problem, attempts) in problems.iter().zip(attempts) {
        let opinion = |text: &String| rule.opinion(text, problem.answer.as_deref());
        let of: Option<Vec<Opinion>> = attempts.texts.iter().map(opinion).collect();
        let of = of.ok_or_else(|| {
            Error::data("the row has no `answer`, and the rule asks for it").at(&problem.origin)
        })?;
        scores.push(of.into_iter().map(|opinion| Some(opinion.score)).collect());
    }
    Ok(Column {
        name: "rule",
        scores,
        steps: None,
    })
}

/// The answers of a row with what is known of them: its labels, or whether each comes to the right answer.
fn attempts(problem: &Problem) -> Result<Attempts> {
    let known = problem.truths().map_err(|e| e.at(&problem.origin))?;
    let (texts, gold) = known
        .into_iter()
        .map(|(text, gold)| (text.to_owned(), gold))
        .unzip();
    Ok(Attempts { texts, gold })
}

fn rows<'a>(
    problems: &'a [Problem],
    attempts: &'a [Attempts],
    columns: &'a [Column],
) -> Vec<ScoredRow<'a>> {
    let of = |column: &'a Column| {
        (0..problems.len()).map(move |at| ScoredRow {
            id: &problems[at].id,
            judge: column.name,
            scores: &column.scores[at],
            steps: column.steps.as_ref().map(|steps| steps[at].as_slice()),
            gold: &attempts[at].gold,
        })
    };
    columns.iter().flat_map(of).collect()
}

fn print(names: &[&str], curve: &[BestOf]) -> Result<()> {
    let binary = curve.iter().all(|point| point.majority.is_some());
    let shown = |picked: &Picked| match binary {
        true => format!(
            "{:.1} % ({:.0} to {:.0})",
            100.0 * picked.mean,
            100.0 * picked.interval.low,
            100.0 * picked.interval.high
        ),
        false => format!(
            "{:.3} ± {:.3}",
            picked.mean,
            picked.interval.high - picked.mean
        ),
    };
    let (one, best) = match binary {
        true => ("pass@1", "pass@N"),
        false => ("a random one", "the best"),
    };
    let mut header = vec!["N", "KL at most", one];
    header.extend(binary.then_some("majority"));
    header.extend(names);
    header.extend([best, "rows"]);
    let line = |point: &BestOf| {
        let mut cells = vec![
            point.n.to_string(),
            format!("{:.2}", point.kl),
            shown(&point.one),
        ];
        cells.extend(point.majority.as_ref().filter(|_| binary).map(shown));
        let judged = |picked: &Option<Picked>| picked.as_ref().map_or("-".to_owned(), shown);
        cells.extend(point.judges.iter().map(judged));
        cells.extend([shown(&point.best), point.problems.to_string()]);
        cells
    };
    output::print(&output::table(&header, curve.iter().map(line).collect()))
}
