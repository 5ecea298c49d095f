//! `duel exam`: fixed questions with known right answers.

use super::kept::{Keeping, Serving};
use super::reading::{Reading, file, located};
use super::{Global, numbers, output, setup};
use crate::data::hub::Split;
use crate::data::{Fields, LoadOptions, Report, Shaped, load_prompts};
use crate::error::{Error, Result};
use crate::eval::exam::{Answers, Asked, Choices, EXAMS, Exam as Kind, ExamReport, Marked, Score};
use crate::eval::sandbox;
use crate::eval::statistics::CONFIDENCE;
use crate::generate::Finish;
use crate::pipeline::exam::{Done, Setting, answers, choices, given, questions};
use crate::run::{interval_name, write_rows};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod judged;

use judged::Judged;

/// Which split of a data set of the hub has the questions, the likelier one first.
fn splits(exam: &str) -> &'static [&'static str] {
    match exam {
        // As in lm-evaluation-harness: the labels of HellaSwag's test split are blank.
        "hellaswag" | "truthfulqa_mc1" | "truthfulqa_mc2" => &["validation", "test", "eval"],
        _ => &["test", "validation", "eval"],
    }
}

/// And which has the examples.
const SHOT_SPLITS: &[&str] = &["dev", "train", "validation"];

/// Put an exam to a model: multiple choice by log-likelihood, answers that a checker reads, or chat that a judge reads
///
/// Questions are put and marked as lm-evaluation-harness puts and marks them; the chat benchmarks alpaca_eval, arena_hard and
/// mt_bench as their authors do, by a judge of yours. Rows are those of the published files, as jsonl or parquet.
///
/// Example: duel exam hellaswag --model M --data validation.jsonl --limit 200
#[derive(Debug, Args)]
pub struct Exam {
    /// Which exam
    #[arg(value_parser = PossibleValuesParser::new(EXAMS.map(|(name, _)| name)))]
    exam: String,
    /// The model
    #[arg(long, required_unless_present = "responses")]
    model: Option<String>,
    /// The questions: a file, or a data set of the hub
    #[arg(long, value_parser = file)]
    data: PathBuf,
    /// Answers that are there already, rows of `duel generate --out`: a question's by its id
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "shots"])]
    responses: Option<PathBuf>,
    /// Examples before each question, of its own subject where the exam has subjects
    #[arg(long, default_value_t = 0, value_name = "N", requires = "shots_from", value_parser = numbers::from_0)]
    shots: usize,
    /// Where the examples are: the first ones are taken
    #[arg(long, value_name = "FILE", value_parser = file)]
    shots_from: Option<PathBuf>,
    /// Write a line for each question to this file: its marks, with the log-likelihoods or the answer
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Longest answer, in tokens; absent: as the harness has it
    #[arg(long, value_parser = numbers::from_1)]
    max_new_tokens: Option<usize>,
    /// Longest prompt with answer, in tokens; questions that are longer are left out and counted
    #[arg(long, value_parser = numbers::from_1)]
    max_length: Option<usize>,
    /// Tokens computed at once
    #[arg(long, default_value_t = 4096, value_parser = numbers::from_1)]
    max_tokens_per_batch: usize,
    /// Put no more questions than this
    #[arg(long, value_parser = numbers::from_1)]
    limit: Option<usize>,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    reading: Reading,
    /// Run what the model writes, which is how humaneval is marked: in a sandbox that the guide describes
    #[arg(long)]
    run_code: bool,
    /// Replace the file that `--out` names
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    judged: Judged,
}

/// What was answered, and what was left out for which reason.
type Answered = (Vec<Done>, BTreeMap<String, usize>);

impl Exam {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        if let Some(out) = &self.out {
            output::check_free(out, &self.data, self.force)?;
            self.check_own(out)?;
        }
        let kind = EXAMS.iter().find(|(name, _)| *name == self.exam);
        let (done, left_out) = match (kind.map(|(_, kind)| *kind), self.judged.named()) {
            (Some(Kind::Judged(benchmark)), _) => return self.by_judge(benchmark, global),
            (_, Some(flag)) => {
                let fact = format!("{flag} is for a judge, and nobody judges {}", self.exam);
                return Err(Error::user(fact).hint(format!("leave {flag} away")));
            }
            (Some(Kind::Choices(exam)), _) => self.by_likelihood(exam, global)?,
            (Some(Kind::Answers(exam)), _) => self.by_answers(exam, global)?,
            (None, _) => return Err(Error::internal("clap let an unknown exam pass")),
        };
        tell_of_left_out(&left_out);
        let marked: Vec<Marked> = done.iter().map(|done| done.marked.clone()).collect();
        let mut report = ExamReport::of(&self.exam, self.shots, &marked, CONFIDENCE)?;
        report.left_out = left_out;
        report.cut_off = cut_off(&done);
        if let Some(Kind::Answers(exam)) = kind.map(|(_, kind)| *kind) {
            report.without_result = without_result(exam, &done);
        }
        if let Some(out) = &self.out {
            write_rows(out, &done.iter().map(line).collect::<Vec<_>>())?;
        }
        match global.json {
            true => output::json(&report),
            false => show(&report),
        }
    }

    /// Whether the same command goes on where it was stopped.
    pub fn continues(&self) -> bool {
        self.judged.continues(self.responses.is_some())
    }

    /// Refuses to write the lines over a file that the same call reads or keeps: `--force` is not meant for those.
    fn check_own(&self, out: &Path) -> Result<()> {
        let responses = self.responses.iter().map(|file| ("--responses", file));
        for (flag, file) in responses.chain(self.judged.files()) {
            // `--answers` may not be there yet.
            if out == file || output::is_same(out, file) {
                let fact = format!("{} is the file of {flag} too", out.display());
                return Err(Error::user(fact).hint("name another file with `--out`"));
            }
        }
        Ok(())
    }

    fn longest(&self) -> usize {
        self.max_length.unwrap_or(usize::MAX)
    }

    /// The files of the questions.
    fn data(&self) -> Result<Vec<PathBuf>> {
        located(
            std::slice::from_ref(&self.data),
            &Split::Among(splits(&self.exam)),
        )
    }

    fn setting(&self) -> Setting {
        Setting {
            shots: self.shots,
            chat: self.reading.text_as_chat,
            max_length: self.longest(),
            max_tokens_per_batch: self.max_tokens_per_batch,
        }
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            limit: self.limit,
            ..self.reading.options()
        }
    }

    /// The files of the examples, and how they are read.
    fn shown(&self, takes_shots: bool) -> Result<Option<(Vec<PathBuf>, LoadOptions)>> {
        match (&self.shots_from, self.shots) {
            (_, 0) | (None, _) => Ok(None),
            (Some(_), _) if !takes_shots => {
                let fact = format!("{} has its own examples or takes none", self.exam);
                Err(Error::user(fact).hint("leave --shots away"))
            }
            (Some(file), _) => {
                let files = located(std::slice::from_ref(file), &Split::Among(SHOT_SPLITS))?;
                Ok(Some((files, self.reading.options())))
            }
        }
    }

    fn by_likelihood(&self, exam: &dyn Choices, global: &Global) -> Result<Answered> {
        let read = |row: &Fields<'_>| exam.question(row).map(Shaped::Row);
        if self.responses.is_some() {
            let fact = format!(
                "{} compares given choices: nobody writes responses to it",
                self.exam
            );
            return Err(Error::user(fact).hint("give --model MODEL"));
        }
        let (asked, report) = questions(&self.data()?, &self.options(), read)?;
        output::report(&report);
        let shown = match self.shown(exam.takes_shots())? {
            Some((files, options)) => questions(&files, &options, read)?.0,
            None => Vec::new(),
        };
        let model = setup::writer(
            self.model.as_deref().unwrap_or_default(),
            global,
            self.keeping,
        )?;
        let (done, left_out) = choices(&model, exam, &asked, &shown, &self.setting())?;
        Ok((done, with_unread(left_out, &report)))
    }

    /// Says why answers that are code cannot be marked, before any is drawn.
    fn check_code(&self) -> Result<()> {
        sandbox::check()?;
        if !self.run_code {
            let fact = format!("to mark {} is to run code that the model wrote", self.exam);
            return Err(
                Error::user(fact).hint("read in docs/guide.md what holds it, then give --run-code")
            );
        }
        match self.reading.text_as_chat {
            true => Err(Error::user(format!(
                "{} is code to be continued as it stands",
                self.exam
            ))
            .hint("leave --text-as-chat away")),
            false => Ok(()),
        }
    }

    fn by_answers(&self, exam: &dyn Answers, global: &Global) -> Result<Answered> {
        if exam.runs_code() {
            self.check_code()?;
        }
        let read = |row: &Fields<'_>| match exam.unusable(row) {
            Some(reason) => Ok(Shaped::Dropped(reason)),
            None => exam.asked(row).map(Shaped::Row),
        };
        let (asked, report) = questions(&self.data()?, &self.options(), read)?;
        output::report(&report);
        let (done, left_out) = match &self.responses {
            Some(file) => self.given(file, &asked)?,
            None => {
                let shown = match self.shown(exam.takes_shots())? {
                    Some((files, options)) => questions(&files, &options, read)?.0,
                    None => Vec::new(),
                };
                let model = setup::drawer(
                    self.model.as_deref().unwrap_or_default(),
                    global,
                    self.keeping,
                    Serving::F32,
                )?;
                if !self.reading.text_as_chat && !exam.runs_code() {
                    let prompts = asked.iter().map(|(_, asked)| Some(asked.prompt.as_str()));
                    setup::warn_of_plain(&model.chat, prompts)?;
                }
                let longest = self.max_new_tokens.unwrap_or(exam.max_new_tokens());
                answers(&model, exam, &asked, &shown, &self.setting(), longest)?
            }
        };
        Ok((done, with_unread(left_out, &report)))
    }

    /// Marks the first response to each question that a file has.
    fn given(&self, file: &Path, asked: &[(String, Asked)]) -> Result<Answered> {
        let (rows, report) = load_prompts(&[file.to_owned()], &self.reading.options())?;
        output::report(&report);
        Ok(given(&rows, asked))
    }
}

/// Adds the rows that could not be read.
fn with_unread(mut left_out: BTreeMap<String, usize>, report: &Report) -> BTreeMap<String, usize> {
    for (reason, count) in &report.dropped {
        *left_out.entry((*reason).to_owned()).or_default() += count;
    }
    if !report.skipped.is_empty() {
        left_out.insert("malformed".to_owned(), report.skipped.len());
    }
    left_out
}

/// Says which questions have no marks, and why.
fn tell_of_left_out(left_out: &BTreeMap<String, usize>) {
    let reasons: Vec<String> = left_out
        .iter()
        .map(|(why, count)| format!("{why}: {count}"))
        .collect();
    if !reasons.is_empty() {
        output::note(&format!("left out: {}", reasons.join(", ")));
    }
}

/// How many of the answers that were drawn were not finished; a warning where there are some.
fn cut_off(done: &[Done]) -> Option<usize> {
    let drawn = done.iter().filter_map(|done| done.finish);
    let (mut all, mut cut) = (0, 0);
    for finish in drawn {
        all += 1;
        cut += usize::from(finish == Finish::Length);
    }
    if cut > 0 {
        tracing::warn!(
            "{cut} of {all} answers were cut off before their end, and are marked as they stand; raise --max-new-tokens"
        );
    }
    (all > 0).then_some(cut)
}

/// How many answers come to nothing that can be marked; a warning where there are some.
fn without_result(exam: &dyn Answers, done: &[Done]) -> Option<usize> {
    let answers = done.iter().filter_map(|done| done.answer.as_deref());
    let silent = answers.filter(|answer| !exam.has_result(answer)).count();
    if silent > 0 {
        tracing::warn!(
            "{silent} of {} answers come to no result, and count as wrong",
            done.len()
        );
    }
    (silent > 0).then_some(silent)
}

/// A question's line.
fn line(done: &Done) -> Value {
    let marks = done.marked.marks.iter();
    let marks: Map<String, Value> = marks
        .map(|mark| {
            (
                mark.metric.to_owned(),
                json!(mark.sum / mark.of.max(1) as f64),
            )
        })
        .collect();
    match (&done.answer, done.finish) {
        (Some(answer), Some(finish)) => {
            json!({"id": done.id, "marks": marks, "answer": answer, "finish": finish})
        }
        (Some(answer), None) => json!({"id": done.id, "marks": marks, "answer": answer}),
        (None, _) => json!({"id": done.id, "marks": marks, "logps": done.logps}),
    }
}

/// Prints a report.
fn show(report: &ExamReport) -> Result<()> {
    let row = |part: &str, metric: &str, score: &Score| {
        vec![
            part.to_owned(),
            metric.to_owned(),
            format!("{:.2} %", 100.0 * score.mean),
            format!("{:.1} to {:.1} %", 100.0 * score.low, 100.0 * score.high),
            score.count.to_string(),
        ]
    };
    let mut rows = Vec::new();
    for (part, scores) in &report.parts {
        rows.extend(
            scores
                .iter()
                .map(|(metric, score)| row(part, metric, score)),
        );
    }
    let whole = report.scores.iter();
    rows.extend(whole.map(|(metric, score)| row(&report.exam, metric, score)));
    let interval = interval_name(Some(report.confidence));
    output::print(&output::table(
        &["exam", "metric", "score", &interval, "of"],
        rows,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_from_the_split_that_has_labels() {
        for exam in ["hellaswag", "truthfulqa_mc1", "truthfulqa_mc2"] {
            assert_eq!(splits(exam)[0], "validation", "{exam}");
        }
        for exam in ["arc", "mmlu", "gsm8k", "math"] {
            assert_eq!(splits(exam)[0], "test", "{exam}");
        }
    }
}
