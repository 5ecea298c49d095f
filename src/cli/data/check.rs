//! `duel data check`: what a file holds, every row that cannot be read, and how long the rows are in tokens.

use super::super::{Global, numbers, output, setup};
use super::roles;
use super::rows::{self, As, Encoded, Rows, Tokens};
use super::{Rows as How, chat, longest, rows_of};
use crate::data::{LoadOptions, Origin, Report, is_among, known_prompts, summary};
use crate::error::{Error, Result};
use crate::text::{Chat, Fit, Limits};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Say what files hold: the kind of rows, counts, and each bad row with its line, its field and the mend
///
/// Exit code 1 when there are malformed rows, unless --skip-bad says that they are no failure. With a model also the
/// lengths in tokens; with --max-length what the limit does to them. With --json one line a file.
///
/// Example: duel data check pairs.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct --max-length 512
#[derive(Debug, Args)]
pub struct Check {
    /// Files of rows: jsonl or parquet, data sets of the hub, or `quickstart:NAME`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Whose tokenizer and chat template count the tokens
    #[arg(long)]
    model: Option<String>,
    /// Prompt and response together, in tokens: what is longer loses the head of its prompt
    #[arg(long, requires = "model", value_name = "N", value_parser = numbers::from_1)]
    max_length: Option<usize>,
    /// Say how many rows have a prompt that these files have, too: those that a judge or a model will be measured on
    #[arg(long, value_name = "FILE", num_args = 1..)]
    apart_from: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// How many malformed and dropped rows a person is shown; `--json` lists all.
const LISTED: usize = 20;

/// What counts the tokens.
struct Measure {
    chat: Chat,
    /// The longest sequence that the model allows.
    limit: usize,
}

impl Measure {
    fn by(model: &str) -> Result<Self> {
        Ok(Self {
            chat: chat(model)?,
            limit: longest(model)?,
        })
    }
}

/// What one file holds.
#[derive(Serialize)]
struct Checked {
    file: String,
    kind: &'static str,
    rows: usize,
    malformed: Vec<LeftOut>,
    dropped: BTreeMap<&'static str, usize>,
    left_out: Vec<LeftOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Measured>,
    /// What the rows say of themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip)]
    summary: String,
}

/// A row that is left out.
#[derive(Serialize)]
struct LeftOut {
    line: usize,
    reason: String,
    #[serde(skip)]
    place: String,
}

impl LeftOut {
    fn new(file: &str, origin: &Origin, reason: &str) -> Self {
        Self {
            line: origin.line,
            reason: reason.to_owned(),
            place: origin.within(&file),
        }
    }
}

/// The rows of a file in tokens.
#[derive(Default, Serialize)]
struct Measured {
    lengths: Vec<Lengths>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limited>,
    /// Pairs whose responses are the same tokens, after truncation where there is a limit.
    equal: usize,
    /// The longest sequence that the model allows, and the rows beyond it.
    model_limit: usize,
    over_model_limit: usize,
    /// Whatever was measured: a row of several solutions is several.
    sequences: usize,
}

/// The lengths of one part of the rows, in tokens.
#[derive(Serialize)]
struct Lengths {
    of: &'static str,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// What a limit does.
#[derive(Serialize)]
struct Limited {
    max_length: usize,
    over: usize,
    over_share: f64,
    prompt_truncated: usize,
    dropped: BTreeMap<&'static str, usize>,
}

impl Check {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let model = self.model.as_deref().map(Measure::by).transpose()?;
        let mut malformed = 0;
        let mut empty = Vec::new();
        for name in &self.files {
            let checked = self.check(name, model.as_ref())?;
            malformed += checked.malformed.len();
            empty.extend((checked.rows == 0).then_some(name.as_str()));
            match global.json {
                true => output::json(&checked)?,
                false => output::print(&checked.text())?,
            }
        }
        if !empty.is_empty() {
            return Err(
                Error::data(format!("{}: no row can be used", empty.join(", ")))
                    .hint("each row's reason stands above; `--json` lists all of them"),
            );
        }
        match malformed {
            0 => Ok(()),
            _ if self.how.reading.skip_bad => Ok(()),
            1 => Err(Error::data("1 row is malformed")),
            count => Err(Error::data(format!("{count} rows are malformed"))),
        }
        .map_err(|error| {
            error.hint("mend the rows, or leave such rows out with `--skip-bad`: they are counted and listed")
        })
    }

    fn check(&self, name: &str, model: Option<&Measure>) -> Result<Checked> {
        // All bad rows are listed, whether or not they are a failure.
        let options = LoadOptions {
            skip_bad: true,
            allow_none: true,
            ..self.how.reading.options_of(name.as_ref())
        };
        let (rows, mut report) = rows::load(&rows_of(name)?, self.how.kind, &options)?;
        let tokens = match model {
            Some(model) => {
                setup::warn_of_plain(&model.chat, rows.plain_prompts().into_iter())?;
                Some(self.measure(&rows, model, &mut report)?)
            }
            None => None,
        };
        let mut notes = rows.notes();
        notes.extend(roles::notes(&rows));
        for other in &self.apart_from {
            notes.push(shared(&rows, other, &options)?);
        }
        let malformed = report.skipped.iter();
        let malformed = malformed.map(|(origin, reason)| LeftOut::new(name, origin, reason));
        let left_out = report.left_out.iter();
        let left_out = left_out.map(|(origin, reason)| LeftOut::new(name, origin, reason));
        Ok(Checked {
            file: name.to_owned(),
            kind: rows.kind(),
            rows: report.kept,
            malformed: malformed.collect(),
            left_out: left_out.collect(),
            notes,
            summary: report.summary(),
            dropped: report.dropped,
            tokens,
        })
    }

    /// Counts tokens. A row that has none because the chat template refuses it becomes a malformed one.
    fn measure(&self, rows: &Rows, model: &Measure, report: &mut Report) -> Result<Measured> {
        let chat = &model.chat;
        let mut parts = Parts::default();
        let mut tally = Tally::default();
        let (mut over_model_limit, mut sequences) = (0, 0);
        let mut refused: Option<&Origin> = None;
        for Encoded { origin, tokens, .. } in rows.encode(chat) {
            match tokens {
                Ok(tokens) => {
                    sequences += 1;
                    parts.add(&tokens);
                    over_model_limit += usize::from(tokens.length() > model.limit);
                    tally.add(tokens, self.max_length, chat);
                }
                // Without a template every conversation fails for the one reason.
                Err(error) if !chat.has_template() => return Err(error.at(origin)),
                // Several sequences of a row are one row.
                Err(_) if refused == Some(origin) => {}
                Err(error) => {
                    refused = Some(origin);
                    report.kept -= 1;
                    report.skipped.push((origin.clone(), error.message));
                }
            }
        }
        let over = tally.prompt_truncated + tally.dropped.values().sum::<usize>();
        Ok(Measured {
            lengths: parts.lengths(),
            limit: self.max_length.map(|max_length| Limited {
                max_length,
                over,
                over_share: over as f64 / sequences.max(1) as f64,
                prompt_truncated: tally.prompt_truncated,
                dropped: tally.dropped,
            }),
            equal: tally.equal,
            model_limit: model.limit,
            over_model_limit,
            sequences,
        })
    }
}

/// How many rows have a prompt of another file, whatever its rows are.
fn shared(rows: &Rows, other: &str, options: &LoadOptions) -> Result<String> {
    let (others, _) = rows::load(&rows_of(other)?, As::Auto, options)?;
    let known = known_prompts(&others.prompts());
    let prompts = rows.prompts();
    let count = prompts.iter().filter(|p| is_among(p, &known)).count();
    Ok(match count {
        0 => format!("no row has a prompt of {other}"),
        _ => format!(
            "{count} of {} rows have a prompt of {other}: what is learnt from them is not measured there",
            prompts.len()
        ),
    })
}

/// Lengths by part, in the order in which the parts were first seen.
#[derive(Default)]
struct Parts(Vec<(&'static str, Vec<f64>)>);

impl Parts {
    fn add(&mut self, tokens: &Tokens) {
        match tokens {
            Tokens::Pair(pair) => {
                self.push("prompt", pair.prompt.len());
                self.push("chosen", pair.chosen.len());
                self.push("rejected", pair.rejected.len());
                let longer = pair.chosen.len().max(pair.rejected.len());
                self.push("prompt and longer response", pair.prompt.len() + longer);
            }
            Tokens::Learned(spans) => {
                self.push("sequence", spans.ids.len());
                self.push("learned", spans.targets());
            }
            Tokens::Judged(row) => {
                self.push("prompt", row.prompt.len());
                self.push("response", row.answer.len());
                self.push("prompt and response", tokens.length());
            }
            Tokens::Prompt(ids) => self.push("prompt", ids.len()),
        }
    }

    fn push(&mut self, name: &'static str, length: usize) {
        let length = length as f64;
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, lengths)) => lengths.push(length),
            None => self.0.push((name, vec![length])),
        }
    }

    fn lengths(&self) -> Vec<Lengths> {
        let quantile = |lengths: &[f64], p| summary::quantile(lengths, p).unwrap_or_default();
        self.0
            .iter()
            .map(|(of, lengths)| Lengths {
                of,
                mean: summary::mean(lengths).unwrap_or_default(),
                p50: quantile(lengths, 0.5),
                p90: quantile(lengths, 0.9),
                p99: quantile(lengths, 0.99),
                max: quantile(lengths, 1.0),
            })
            .collect()
    }
}

/// What the limit did to the rows.
#[derive(Default)]
struct Tally {
    prompt_truncated: usize,
    dropped: BTreeMap<&'static str, usize>,
    equal: usize,
}

impl Tally {
    fn add(&mut self, mut tokens: Tokens, max_length: Option<usize>, chat: &Chat) {
        let fit = match max_length {
            None => Fit::Whole,
            Some(max_length) => {
                let limits = Limits {
                    leading_bos: chat.leading_bos(),
                    ..Limits::new(max_length)
                };
                match &mut tokens {
                    Tokens::Pair(pair) => limits.pair(pair),
                    Tokens::Learned(spans) => limits.spans(spans),
                    Tokens::Judged(row) => limits.response(row),
                    Tokens::Prompt(ids) => limits.prompt(ids, 0),
                }
            }
        };
        match fit {
            Fit::Whole => {}
            Fit::Truncated(_) => self.prompt_truncated += 1,
            Fit::Dropped(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
        if let Tokens::Pair(pair) = &tokens {
            self.equal += usize::from(pair.chosen == pair.rejected);
        }
    }
}

impl Checked {
    fn text(&self) -> String {
        let mut text = format!("{}: {}: {}", self.file, self.kind, self.summary);
        for note in &self.notes {
            let _ = write!(text, "\n  {note}");
        }
        let mut rows: Vec<&LeftOut> = self.malformed.iter().chain(&self.left_out).collect();
        rows.sort_by_key(|row| row.line);
        for row in rows.iter().take(LISTED) {
            let _ = write!(text, "\n  {}: {}", row.place, row.reason);
        }
        if rows.len() > LISTED {
            let more = rows.len() - LISTED;
            let _ = write!(text, "\n  and {more} more; `--json` lists all");
        }
        if let Some(tokens) = &self.tokens {
            let _ = write!(text, "\n{}", tokens.text(self.rows, self.kind));
        }
        text
    }
}

impl Measured {
    fn text(&self, rows: usize, kind: &str) -> String {
        let lines = self.lengths.iter().map(|part| {
            let [mean, p50, p90, p99, max] =
                [part.mean, part.p50, part.p90, part.p99, part.max].map(|n| format!("{n:.0}"));
            vec![part.of.to_owned(), mean, p50, p90, p99, max]
        });
        let header = ["tokens of", "mean", "50 %", "90 %", "99 %", "longest"];
        let mut text = output::table(&header, lines.collect());
        let count = self.sequences;
        let of = match count == rows {
            true => format!("{count} rows"),
            false => format!("{count} sequences"),
        };
        if let Some(limit) = &self.limit {
            let _ = write!(
                text,
                "\nover {} tokens: {} of {of} ({:.1} %); {} lose the head of their prompt",
                limit.max_length,
                limit.over,
                100.0 * limit.over_share,
                limit.prompt_truncated
            );
            for (reason, count) in &limit.dropped {
                let _ = write!(text, ", {count} would be dropped ({reason})");
            }
        }
        if self.over_model_limit > 0 {
            let _ = write!(
                text,
                "\nlonger than the {} tokens that the model allows: {} of {of}",
                self.model_limit, self.over_model_limit
            );
        }
        if kind == "preference" {
            let when = match self.limit {
                Some(_) => " after truncation",
                None => "",
            };
            let _ = write!(
                text,
                "\nchosen and rejected are equal{when}: {}",
                self.equal
            );
        }
        text
    }
}
