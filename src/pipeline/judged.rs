//! Chat benchmarks put to a model: its answers turn by turn, then what a judge says of them.

mod draw;
mod local;
#[cfg(test)]
mod tests;

pub use draw::{Drawing, draw};
pub use local::{Local, must_grade};

use crate::data::{LoadOptions, Report, Shaped, load_rows};
use crate::error::{Error, Result};
use crate::eval::judged::{self, Benchmark, GivenAnswers, Judgement, Kind, Task};
use crate::judge::Examiner;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// Answers by their questions' ids, turn by turn.
pub type TurnAnswers = HashMap<String, Vec<String>>;

/// Counts by reason.
type LeftOut = BTreeMap<String, usize>;

/// The questions of a benchmark, in file order.
///
/// # Errors
/// Files that cannot be read, rows that ask nothing unless `options` skip them, an id that comes twice.
pub fn tasks(
    benchmark: &dyn Benchmark,
    files: &[PathBuf],
    options: &LoadOptions,
) -> Result<(Vec<Task>, Report)> {
    let mut known = HashSet::new();
    load_rows(files, options, |row, id, origin| {
        let task = judged::task(benchmark, row, id, origin)?;
        if !known.insert(task.id.clone()) {
            return Err(
                Error::data(format!("the question `{}` comes twice", task.id))
                    .hint("name each question once"),
            );
        }
        Ok(Shaped::Row(task))
    })
}

/// The answers of a file to the questions.
///
/// # Errors
/// A file with the answers of several models.
pub fn given(tasks: &[Task], answers: &GivenAnswers) -> Result<TurnAnswers> {
    let models = answers.models();
    if models.len() > 1 {
        let named: Vec<&str> = models.iter().take(3).map(String::as_str).collect();
        let fact = format!(
            "the responses are of {} models: {} ...",
            models.len(),
            named.join(", ")
        );
        return Err(Error::user(fact).hint("give a file with the rows of one of them"));
    }
    let found = tasks.iter().filter_map(|task| {
        let mut turns = answers.of(task, None)?.turns;
        turns.truncate(task.turns.len());
        Some((task.id.clone(), turns))
    });
    Ok(found.collect())
}

/// What is judged of a question.
struct Exhibit<'a> {
    task: &'a Task,
    answers: &'a [String],
    baseline: Option<String>,
}

impl Exhibit<'_> {
    fn judgement(&self, points: Vec<Option<f64>>, replies: Vec<String>) -> Judgement {
        let own: usize = self
            .answers
            .iter()
            .map(|answer| answer.chars().count())
            .sum();
        let other = self
            .baseline
            .as_ref()
            .map_or(0, |answer| answer.chars().count());
        Judgement {
            id: self.task.id.clone(),
            part: self.task.part.clone(),
            points,
            chars: [own, other],
            replies,
        }
    }
}

/// What a judge said of all questions.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// In the questions' order.
    pub judged: Vec<Judgement>,
    /// What is left out, by reason.
    pub left_out: LeftOut,
    /// The models whose answers were the baseline, where their rows name them.
    pub baselines: BTreeSet<String>,
    /// The models with which the published numbers compare, where that was another.
    pub published: BTreeSet<String>,
}

/// Who judges.
pub enum By<'a> {
    /// A model behind an endpoint, which is asked as the benchmark asks.
    Elsewhere(Box<Examiner>),
    /// A judge of duel's.
    Here(Local<'a>),
}

/// Questions that are asked about together.
const TOGETHER: usize = 16;

/// Lets `by` judge `answers`; against those of `baseline` where the benchmark compares.
///
/// # Errors
/// A judge that compares where grades are asked for, and whatever the judge reports.
pub fn judge(
    benchmark: &dyn Benchmark,
    tasks: &[Task],
    answers: &TurnAnswers,
    baseline: Option<&GivenAnswers>,
    by: &mut By,
) -> Result<Verdicts> {
    let mut found = Verdicts::default();
    let exhibits = exhibits(benchmark, tasks, answers, baseline, &mut found);
    let span = info_span!("judge");
    span.pb_set_message("judge");
    span.pb_set_length(exhibits.len() as u64);
    let _entered = span.enter();
    match by {
        By::Elsewhere(examiner) => {
            for batch in exhibits.chunks(TOGETHER) {
                elsewhere(benchmark, batch, examiner, &mut found)?;
                span.pb_inc(batch.len() as u64);
            }
        }
        By::Here(local) => local.judge(benchmark.kind(), &exhibits, &mut found)?,
    }
    Ok(found)
}

fn count(left_out: &mut LeftOut, reason: &str) {
    *left_out.entry(reason.to_owned()).or_default() += 1;
}

/// What there is to judge; what lacks an answer is counted.
fn exhibits<'a>(
    benchmark: &dyn Benchmark,
    tasks: &'a [Task],
    answers: &'a TurnAnswers,
    baseline: Option<&GivenAnswers>,
    found: &mut Verdicts,
) -> Vec<Exhibit<'a>> {
    let mut exhibits = Vec::with_capacity(tasks.len());
    for task in tasks {
        let own = answers.get(&task.id).map_or(&[][..], Vec::as_slice);
        if own.is_empty() {
            count(&mut found.left_out, "no answer");
            continue;
        }
        if own.len() < task.turns.len() && benchmark.kind() == Kind::Grades {
            count(
                &mut found.left_out,
                "no answer to a later turn (its first ones count)",
            );
        }
        let mut other = None;
        if benchmark.kind() == Kind::Versus {
            let published = benchmark.published_baseline(task.part.as_deref());
            let given = baseline.and_then(|given| given.of(task, published));
            let Some((given, text)) =
                given.and_then(|g| Some((g.model, g.turns.into_iter().next()?)))
            else {
                count(&mut found.left_out, "no answer of the baseline");
                continue;
            };
            let differs = published.filter(|published| given.as_deref() != Some(published));
            found.published.extend(differs.map(str::to_owned));
            found.baselines.extend(given);
            other = Some(text);
        }
        exhibits.push(Exhibit {
            task,
            answers: own,
            baseline: other,
        });
    }
    exhibits
}

/// Asks a model behind an endpoint about some questions at once.
fn elsewhere(
    benchmark: &dyn Benchmark,
    batch: &[Exhibit],
    examiner: &mut Examiner,
    found: &mut Verdicts,
) -> Result<()> {
    let asked: Vec<Vec<String>> = batch
        .iter()
        .map(|one| benchmark.asks(one.task, one.answers, one.baseline.as_deref()))
        .collect();
    let questions: Vec<String> = asked.iter().flatten().cloned().collect();
    let replies = examiner.replies(&questions, benchmark.says(), benchmark.wanted())?;
    let mut replies = replies.into_iter();
    for (one, asked) in batch.iter().zip(&asked) {
        let own: Vec<String> = replies.by_ref().take(asked.len()).collect();
        let Some(points) = benchmark.points(one.task.part.as_deref(), &own) else {
            count(&mut found.left_out, "no verdict");
            continue;
        };
        if points.iter().any(Option::is_none) {
            count(
                &mut found.left_out,
                "no verdict on a turn (the others count)",
            );
        }
        found.judged.push(one.judgement(points, own));
    }
    Ok(())
}
