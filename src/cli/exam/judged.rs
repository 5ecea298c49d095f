//! `duel exam` of a chat benchmark: the model answers, a judge reads.

use super::super::claim::{claim, release};
use super::super::kept::Serving;
use super::super::{Global, output, setup};
use super::Exam;
use crate::data::hub::Split;
use crate::data::{LoadOptions, Report};
use crate::error::{Error, Result};
use crate::eval::exam::Score;
use crate::eval::judged::{Benchmark, GivenAnswers, JudgedReport, Judgement, Kind, Task};
use crate::eval::statistics::CONFIDENCE;
use crate::judge::{Rule, RuleJudge};
use crate::pipeline::judged::{self, By, Drawing, Local, TurnAnswers, Verdicts};
use crate::pipeline::{Policy, judges};
use crate::recipe::RemoteJudge;
use crate::run::{interval_name, stage_key, write_rows};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Who judges what no checker can mark, and against what.
#[derive(Debug, Args)]
pub struct Judged {
    /// Who judges alpaca_eval, arena_hard or mt_bench: a reward model, or (not of mt_bench) a pairwise one
    #[arg(long, value_name = "MODEL")]
    judge: Option<String>,
    /// A rule over the text as their judge instead, as `duel judge --rule` has it
    #[arg(long, conflicts_with = "judge")]
    rule: Option<String>,
    /// A program as their judge instead, as `duel judge --command` has it
    #[arg(long, conflicts_with_all = ["judge", "rule"])]
    command: Option<String>,
    /// A model behind an OpenAI-compatible endpoint as their judge instead, asked as the benchmark asks: its address up to
    /// /chat/completions
    #[arg(long, value_name = "URL", conflicts_with_all = ["judge", "rule", "command"], requires = "remote_model")]
    remote: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", requires = "remote")]
    remote_model: Option<String>,
    /// The environment variable that holds its API key
    #[arg(long, value_name = "NAME", requires = "remote")]
    api_key_env: Option<String>,
    /// Longest reply of it, in tokens; absent: as the benchmark has it
    #[arg(long, value_name = "N", requires = "remote", value_parser = super::numbers::from_1)]
    reply_tokens: Option<usize>,
    /// The answers that alpaca_eval or arena_hard compare with; alpaca_eval's own rows have some
    #[arg(long, value_name = "FILE", num_args = 1..)]
    baseline: Vec<PathBuf>,
    /// Keep the model's answers in this file as they are drawn, and draw none that is there already
    #[arg(long, value_name = "FILE", conflicts_with = "responses")]
    answers: Option<PathBuf>,
}

impl Judged {
    /// Whether the same command goes on where it was stopped.
    ///
    /// Replies of an endpoint are remembered, but a question about answers that are drawn anew is another one.
    pub fn continues(&self, answered: bool) -> bool {
        self.answers.is_some() || (answered && self.remote.is_some())
    }

    /// The files that are read or kept, with their flags.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let kept = self.answers.iter().map(|file| ("--answers", file));
        kept.chain(self.baseline.iter().map(|file| ("--baseline", file)))
    }

    /// The first flag that only a chat benchmark has.
    pub fn named(&self) -> Option<&'static str> {
        let flags = [
            ("--judge", self.judge.is_some()),
            ("--rule", self.rule.is_some()),
            ("--command", self.command.is_some()),
            ("--remote", self.remote.is_some()),
            ("--baseline", !self.baseline.is_empty()),
            ("--answers", self.answers.is_some()),
        ];
        flags
            .into_iter()
            .find(|(_, named)| *named)
            .map(|(flag, _)| flag)
    }

    /// Who judges, by name.
    fn name(&self) -> Result<&str> {
        let names = [&self.judge, &self.rule, &self.command, &self.remote_model];
        let named = names.into_iter().flatten().next();
        named.map(String::as_str).ok_or_else(|| {
            Error::user("no checker can mark this benchmark, and no judge was named").hint(
                "give --remote URL --remote-model NAME, --judge MODEL, --rule FORMULA or --command PROGRAM",
            )
        })
    }

    /// A judge behind an endpoint.
    fn table(&self, benchmark: &dyn Benchmark) -> Result<Option<RemoteJudge>> {
        let Some(remote) = &self.remote else {
            return Ok(None);
        };
        let table = json!({
            "base_url": remote,
            "model": self.remote_model,
            "api_key_env": self.api_key_env,
            "max_tokens": self.reply_tokens.unwrap_or(benchmark.reply_tokens()),
            // A judge that reasons writes for longer than one that names a letter.
            "timeout_seconds": 600.0,
        });
        let table = serde_json::from_value(table);
        table
            .map(Some)
            .map_err(|error| Error::internal(error.to_string()))
    }
}

impl Exam {
    /// Puts a chat benchmark to the model, or reads its answers, and prints what the judge says.
    pub(super) fn by_judge(&self, benchmark: &dyn Benchmark, global: &Global) -> Result<()> {
        let judge = self.judged.name()?;
        if self.shots > 0 {
            let fact = format!("{} is asked without examples", self.exam);
            return Err(Error::user(fact).hint("leave --shots away"));
        }
        // What a judge lacks is said before anything is drawn.
        let remote = self.judged.table(benchmark)?;
        let examiner = remote.as_ref().map(judges::examiner).transpose()?;
        let rule = self
            .judged
            .rule
            .as_deref()
            .map(str::parse::<Rule>)
            .transpose()?;
        if let Some(name) = &self.judged.judge {
            let path = setup::model_path(name)?;
            if benchmark.kind() == Kind::Grades {
                judged::must_grade(&path)?;
            }
        }
        if let Some(program) = &self.judged.command {
            judges::must_be_there(program)?;
        }
        let (tasks, report) = judged::tasks(benchmark, &self.data()?, &self.options())?;
        output::report(&report);
        let baseline = self.baseline(benchmark)?;
        let answers = self.turn_answers(benchmark, &tasks, global)?;
        let judge_model = match &self.judged.judge {
            Some(name) => Some(setup::model(name, global, self.keeping)?),
            None => None,
        };
        let (longest, budget) = (self.longest(), self.max_tokens_per_batch);
        let mut by = match (examiner, rule, &judge_model, &self.judged.command) {
            (Some(examiner), ..) => By::Elsewhere(Box::new(examiner)),
            (_, Some(rule), ..) => By::Here(Local::of(RuleJudge::new(rule))),
            (.., Some(model), _) => By::Here(Local::model(model, longest, budget)?),
            (.., Some(program)) => By::Here(Local::of(judges::program(program)?)),
            _ => return Err(Error::internal("a judge was named, but none is there")),
        };
        let found = judged::judge(benchmark, &tasks, &answers, baseline.as_ref(), &mut by)?;
        self.tell(
            [self.exam.as_str(), judge],
            benchmark.kind(),
            &answers,
            found,
            &report,
            global,
        )
    }

    /// The answers to compare with, where the benchmark compares.
    fn baseline(&self, benchmark: &dyn Benchmark) -> Result<Option<GivenAnswers>> {
        let files = match (benchmark.kind(), &self.judged.baseline[..]) {
            (Kind::Grades, []) => return Ok(None),
            (Kind::Grades, _) => {
                let fact = format!("{} grades each answer by itself", self.exam);
                return Err(Error::user(fact).hint("leave --baseline away"));
            }
            (Kind::Versus, []) if benchmark.rows_hold_baseline() => self.data()?,
            (Kind::Versus, []) => {
                let fact = format!(
                    "{} compares with a baseline's answers, and none are named",
                    self.exam
                );
                return Err(Error::user(fact).hint(
                    "give the published model_answer file of the baseline by --baseline FILE",
                ));
            }
            (Kind::Versus, files) => super::located(files, &Split::Among(&[]))?,
        };
        // The limit is one of questions.
        let options = LoadOptions {
            limit: None,
            ..self.options()
        };
        Ok(Some(GivenAnswers::load(benchmark, &files, &options)?.0))
    }

    /// The model's answers: drawn, or out of `--responses`.
    fn turn_answers(
        &self,
        benchmark: &dyn Benchmark,
        tasks: &[Task],
        global: &Global,
    ) -> Result<TurnAnswers> {
        if let Some(file) = &self.responses {
            let options = LoadOptions {
                limit: None,
                ..self.options()
            };
            let (answers, report) =
                GivenAnswers::load(benchmark, std::slice::from_ref(file), &options)?;
            output::report(&report);
            return judged::given(tasks, &answers);
        }
        let name = self.model.as_deref().unwrap_or_default();
        let model = setup::drawer(name, global, self.keeping, Serving::F32)?;
        let drawing = Drawing {
            max_new_tokens: self.max_new_tokens,
            max_length: self.longest(),
            max_tokens_per_batch: self.max_tokens_per_batch,
        };
        let Some(kept) = &self.judged.answers else {
            let folder = tempfile::tempdir()
                .map_err(|error| Error::internal(format!("no temporary folder: {error}")))?;
            let out = folder.path().join("answers.jsonl");
            return judged::draw(&model, benchmark, tasks, &drawing, &out);
        };
        let asked: Vec<(&str, &[String], f64)> = tasks
            .iter()
            .map(|task| {
                let temperature = benchmark.temperature(task.part.as_deref());
                (task.id.as_str(), &task.turns[..], temperature)
            })
            .collect();
        let facts = (&self.exam, self.max_new_tokens, drawing.max_length, asked);
        let how = self.keeping.kept(&model.decoder.device());
        let digest = Policy::at(&setup::model_path(name)?)?.kept(how).digest;
        let key = stage_key(&facts, &[digest])?.to_string();
        claim(
            ("--answers", kept),
            ("--data", &self.data),
            &key,
            "duel exam",
        )?;
        judged::draw(&model, benchmark, tasks, &drawing, kept).inspect_err(|_| release(kept))
    }

    /// Sums up, writes the lines of `--out`, and prints the report.
    fn tell(
        &self,
        names: [&str; 2],
        kind: Kind,
        answers: &TurnAnswers,
        mut found: Verdicts,
        read: &Report,
        global: &Global,
    ) -> Result<()> {
        found.left_out = super::with_unread(found.left_out, read);
        let left_out: Vec<String> = found
            .left_out
            .iter()
            .map(|(why, count)| format!("{why}: {count}"))
            .collect();
        if !left_out.is_empty() {
            output::note(&format!("left out: {}", left_out.join(", ")));
        }
        let mut report = JudgedReport::of(names, kind, &found.judged, CONFIDENCE)?;
        report.left_out = found.left_out;
        report.baseline = found.baselines.into_iter().collect();
        if !found.published.is_empty() {
            let published: Vec<String> = found.published.into_iter().collect();
            let used = match report.baseline.is_empty() {
                true => "a model without a name".to_owned(),
                false => report.baseline.join(", "),
            };
            output::note(&format!(
                "the published numbers compare with {}, these with {used}: they are of another scale",
                published.join(", ")
            ));
        }
        if let Some(out) = &self.out {
            let lines: Vec<Value> = found.judged.iter().map(|one| line(one, answers)).collect();
            write_rows(out, &lines)?;
        }
        match global.json {
            true => output::json(&report),
            false => show(&report, kind),
        }
    }
}

/// A question's line.
fn line(one: &Judgement, answers: &TurnAnswers) -> Value {
    json!({
        "id": one.id,
        "category": one.part,
        "points": one.points,
        "answers": answers.get(&one.id),
        "replies": one.replies,
    })
}

/// Prints a report.
fn show(report: &JudgedReport, kind: Kind) -> Result<()> {
    let row = |part: &str, measure: &str, score: &Score| {
        let [mean, low, high] = [score.mean, score.low, score.high];
        let (mean, between) = match kind {
            Kind::Grades => (format!("{mean:.2}"), format!("{low:.2} to {high:.2}")),
            Kind::Versus => (
                format!("{:.1} %", 100.0 * mean),
                format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high),
            ),
        };
        // Questions drawn anew cannot differ where all came to the same: that is no certainty.
        let between = match low < high {
            true => between,
            false => "-".to_owned(),
        };
        let of = score.count.to_string();
        vec![
            part.to_owned(),
            measure.replace('_', " "),
            mean,
            between,
            of,
        ]
    };
    let parts = report
        .parts
        .iter()
        .map(|(part, scores)| (part.as_str(), scores));
    let all = parts.chain([(report.exam.as_str(), &report.scores)]);
    let rows = all.flat_map(|(part, scores)| {
        scores
            .iter()
            .map(move |(measure, score)| row(part, measure, score))
    });
    let interval = interval_name(Some(report.confidence));
    output::print(&output::table(
        &["exam", "measure", "score", &interval, "of"],
        rows.collect(),
    ))?;
    let baseline = match report.baseline_chars {
        Some(chars) => format!(", {chars:.0} of the baseline's"),
        None => String::new(),
    };
    output::print(&format!(
        "judged by {}; {:.0} characters in an answer{baseline}",
        report.judge, report.chars
    ))
}
