//! Rows of files to examples of the trainer: read, tokenised, fitted to the length limit, counted.

use super::context::Context;
use super::embedded;
use crate::data::{
    self, HasPrompt, LoadOptions, Needs, Preference, Problem, PromptRow, Report, Sft,
    hub::{self, Split},
};
use crate::error::{Error, Result};
use crate::model::{DecoderSpec, Model};
use crate::objective::Example;
use crate::recipe::{Data, HubSet, Overlong, matching};
use crate::run::{hash_file, write_atomic};
use crate::text::{Chat, Fit, Limits, Overflow, SftText, lacks_template};
use crate::trainer::diagnose::DataAudit;
use crate::trie::Sequence;
use blake3::Hash;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The files of a recipe's data table; `quickstart:NAME` is a sample inside the binary, a name with a `*` all files that
/// match. Data sets of the hub are downloaded where they are not in its cache.
///
/// # Errors
/// An unknown sample, or a data set that cannot be had.
pub fn files(data: &Data) -> Result<Vec<PathBuf>> {
    files_by(data, hub::located)
}

/// The same table with the files of data sets of the hub in their place, without a download.
///
/// # Errors
/// As [`files`], and a data set that is not in the hub's cache.
pub(super) fn here(data: &Data) -> Result<Data> {
    let files = files_by(data, hub::in_cache)?;
    Ok(Data {
        files: files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        ..data.clone()
    })
}

/// Finds the files of a data set of the hub, of the first of some splits that it has.
type Locate = fn(&Path, &Split) -> Result<Vec<PathBuf>>;

fn files_by(data: &Data, locate: Locate) -> Result<Vec<PathBuf>> {
    let split = match (&data.split, data.measures) {
        (Some(split), _) => Split::Named(split.clone()),
        (None, true) => Split::TEST,
        (None, false) => Split::TRAIN,
    };
    let mut files = Vec::new();
    for file in &data.files {
        let path = Path::new(file);
        match file.strip_prefix(Data::EMBEDDED) {
            Some(name) => files.push(embedded::data(name)?),
            None if file.starts_with(HubSet::SCHEME) => files.extend(locate(path, &split)?),
            None => match matching(path) {
                // Whoever opens it says what is wrong with it.
                none if none.is_empty() => files.push(path.to_owned()),
                found => files.extend(found),
            },
        }
    }
    Ok(files)
}

/// One hash over what is in the files, for a stage's key.
///
/// # Errors
/// A file that cannot be read.
pub fn hash(data: &Data) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    for path in files(data)? {
        hasher.update(hash_file(&path)?.as_bytes());
    }
    Ok(hasher.finalize())
}

/// One hash over what of the files is read, and how: a stage's key beside [`hash`].
pub fn hash_of_reading(data: &Data) -> Hash {
    crate::recipe::hash_of(&Data {
        files: Vec::new(),
        ..data.clone()
    })
}

/// How the files of a table are read.
pub(super) fn options(data: &Data) -> LoadOptions {
    LoadOptions {
        skip_bad: data.skip_bad,
        columns: data.columns.clone(),
        filter: data.filter.clone(),
        limit: data.max_rows,
        text_as_chat: data.text_as_chat,
        ..LoadOptions::default()
    }
}

/// Preference rows of a table.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn preferences(data: &Data) -> Result<(Vec<Preference>, Report)> {
    data::load_preferences(&files(data)?, &options(data))
}

/// Prompts of a table.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn prompts(data: &Data) -> Result<(Vec<PromptRow>, Report)> {
    data::load_prompts(&files(data)?, &options(data))
}

/// Prompts of a table whose responses are compared with the right answer: a row without one is malformed.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn answered(data: &Data) -> Result<(Vec<PromptRow>, Report)> {
    let options = LoadOptions {
        needs: Needs::Answer,
        ..options(data)
    };
    data::load_prompts(&files(data)?, &options)
}

/// Problems with solutions of a table.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn problems(data: &Data) -> Result<(Vec<Problem>, Report)> {
    data::load_problems(&files(data)?, &options(data))
}

/// The same for a model that learns from labels of steps: a solution as one text is a malformed row.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn stepped(data: &Data) -> Result<(Vec<Problem>, Report)> {
    let options = LoadOptions {
        needs: Needs::Steps,
        ..options(data)
    };
    data::load_problems(&files(data)?, &options)
}

/// Conversations of a table.
///
/// # Errors
/// Rows that cannot be read, unless `skip_bad`.
pub fn conversations(data: &Data) -> Result<(Vec<Sft>, Report)> {
    data::load_sft(&files(data)?, &options(data))
}

/// Says what became of a stage's rows, lists the first that were left out, and keeps all of them in the run's
/// `logs/<stage>-rows.txt`. A stage that reads its rows again says nothing new; what is left out of the samples inside
/// the binary is nobody's to mend, and not listed.
///
/// # Errors
/// A log that cannot be written.
pub fn tell(cx: &Context, stage: &str, report: &Report) -> Result<()> {
    if !cx.is_news(stage, report) {
        return Ok(());
    }
    tracing::info!("{stage}: {}", report.summary());
    let lines = report.lines();
    if lines.is_empty() {
        return Ok(());
    }
    let mut left_out = report.left_out.iter().map(|(origin, _)| &origin.file);
    if !report.skipped.is_empty() || !left_out.all(|file| embedded::holds(file)) {
        for line in report.first_lines() {
            tracing::info!("{stage}: {line}");
        }
    }
    let log = cx.run.layout().logs().join(format!("{stage}-rows.txt"));
    write_atomic(&log, (lines.join("\n") + "\n").as_bytes())
}

/// Reads the rows of a table.
pub type Load<T> = fn(&Data) -> Result<(Vec<T>, Report)>;

/// Reads a stage's rows before the stage is opened, where opening it may throw away what an earlier one made: that is
/// given up for rows that can be read, not for a mistake in a file.
///
/// # Errors
/// Rows that cannot be read.
pub fn readable<T>(cx: &Context, load: Load<T>, data: &Data, eval: Option<&Data>) -> Result<()> {
    match cx.run.redoes() {
        true => std::iter::once(data)
            .chain(eval)
            .try_for_each(|data| load(data).map(|_| ())),
        false => Ok(()),
    }
}

/// A stage's rows to learn from and rows to evaluate on, after saying what became of those of each file.
///
/// # Errors
/// Rows that cannot be read, or a log that cannot be written.
pub fn read<T: HasPrompt>(
    cx: &Context,
    stage: &str,
    load: Load<T>,
    data: &Data,
    eval: Option<&Data>,
) -> Result<[Vec<T>; 2]> {
    let told = |stage: &str, data: &Data| -> Result<Vec<T>> {
        let (rows, report) = load(data)?;
        tell(cx, stage, &report)?;
        Ok(rows)
    };
    if let Some(file) = eval.map(|eval| shared(data, eval)).transpose()?.flatten() {
        tracing::warn!(
            "{stage}: what it learns from and what it is measured on are rows of one file: {}; name other rows, or take \
             held_out in place of the table",
            file.display()
        );
    }
    let rows = told(stage, data)?;
    let eval = eval.map(|eval| told(&format!("{stage}-eval"), eval));
    Ok(split(rows, eval.transpose()?, data, cx.recipe.seed))
}

/// A file that two tables take the same rows of.
fn shared(data: &Data, eval: &Data) -> Result<Option<PathBuf>> {
    if data.filter != eval.filter {
        return Ok(None);
    }
    let measured = files(eval)?;
    Ok(files(data)?
        .into_iter()
        .find(|file| measured.contains(file)))
}

/// Rows to learn from and rows to evaluate on: those of `eval` where it is given, else a share of `data`.
pub fn split<T: HasPrompt>(
    rows: Vec<T>,
    eval: Option<Vec<T>>,
    data: &Data,
    seed: u64,
) -> [Vec<T>; 2] {
    match eval {
        Some(eval) => [rows, eval],
        None => data::split(rows, data.held_out, seed).into(),
    }
}

/// Refuses a reference whose token ids mean something else.
///
/// # Errors
/// When an id of the policy's tokenizer is another token to the reference, or none. Vocabularies of one size prove
/// nothing: Llama 2 and Mistral both have 32,000 tokens.
pub fn same_tokens(policy: &Model, reference: &Model) -> Result<()> {
    if policy.tokenizer.tokenizer_json == reference.tokenizer.tokenizer_json {
        return Ok(());
    }
    let [own, theirs] = [policy, reference].map(|model| model.chat.tokenizer());
    let Some(id) = own.first_unlike(theirs) else {
        return Ok(());
    };
    Err(Error::user(format!(
        "{} and {} have different tokenizers: token {id} is `{}` in one and `{}` in the other",
        policy.path.display(),
        reference.path.display(),
        own.piece(id),
        theirs.piece(id)
    ))
    .hint("a reference must be a model of the same family, usually the one the policy began as"))
}

/// The limit of a stage for sequences of this model; never longer than the model itself allows.
pub fn limits(max_length: usize, overlong: Overlong, model: &Model) -> Limits {
    limits_of(max_length, overlong, &model.chat, &model.decoder.spec)
}

/// The same of a model whose weights are not loaded.
pub fn limits_of(max_length: usize, overlong: Overlong, chat: &Chat, spec: &DecoderSpec) -> Limits {
    Limits {
        overflow: match overlong {
            Overlong::Drop => Overflow::Drop,
            Overlong::TruncatePrompt => Overflow::TruncatePrompt,
        },
        leading_bos: chat.leading_bos(),
        ..Limits::new(max_length.min(spec.max_position_embeddings))
    }
}

/// The limit of prompts that a model is to answer: room for the response stays under `max_length`, and whoever reads
/// the responses later (training, the reference, KL) cuts a prompt exactly where the model that answered it did.
pub fn limits_of_responses(
    max_length: usize,
    overlong: Overlong,
    max_new_tokens: usize,
    model: &Model,
) -> Limits {
    let limits = limits(max_length, overlong, model);
    Limits {
        max_prompt_length: Some(limits.max_length.saturating_sub(max_new_tokens).max(1)),
        ..limits
    }
}

/// Examples with what became of the rows on the way.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Those that are trained on.
    pub examples: Vec<Example>,
    /// Counts for the diagnoses.
    pub audit: DataAudit,
    /// Rows left out for their length.
    pub dropped: usize,
    /// The prompts are plain text although the model has a chat template.
    pub lacks_template: bool,
}

/// An example that fits, and what is to be counted about it.
pub(super) struct Kept {
    pub example: Example,
    pub truncated: bool,
    /// Every answer ends in an end marker.
    pub ended: bool,
}

impl Prepared {
    pub(super) fn gather(rows: Vec<Option<Kept>>) -> Self {
        let mut prepared = Self::default();
        for row in rows {
            let Some(kept) = row else {
                prepared.dropped += 1;
                continue;
            };
            let example = kept.example;
            prepared.audit.rows += 1;
            prepared.audit.truncated += usize::from(kept.truncated);
            prepared.audit.unended += usize::from(!kept.ended);
            if let [a, b] = &example.sequences[..] {
                prepared.audit.equal_pairs += usize::from(a.tokens == b.tokens);
            }
            prepared.examples.push(example);
        }
        prepared
    }

    /// Takes in other rows with all their counts.
    pub fn merge(&mut self, other: Self) {
        let Self {
            examples,
            audit,
            dropped,
            lacks_template,
        } = other;
        self.lacks_template |= lacks_template;
        self.examples.extend(examples);
        self.audit += audit;
        self.dropped += dropped;
    }

    /// The examples of a held-out set, after a warning where rows of it are not evaluated.
    pub fn held_out(self, stage: &str, max_length: usize) -> Vec<Example> {
        if let Some(warning) = self.not_evaluated(max_length) {
            tracing::warn!("{stage}: {warning}");
        }
        self.examples
    }

    fn not_evaluated(&self, max_length: usize) -> Option<String> {
        let (dropped, kept) = (self.dropped, self.examples.len());
        match (dropped, kept) {
            (0, _) => None,
            (_, 0) => Some(format!(
                "nothing is evaluated: all {dropped} held-out rows are longer than max_length {max_length}; raise it"
            )),
            _ => Some(format!(
                "{dropped} of {} held-out rows are longer than max_length {max_length} and are not evaluated",
                dropped + kept
            )),
        }
    }

    /// Refuses an empty result.
    ///
    /// # Errors
    /// When no row is left.
    pub fn not_empty(self, what: &str, max_length: usize) -> Result<Self> {
        match self.examples.is_empty() {
            false => Ok(self),
            true => Err(Error::data(format!(
                "no {what} is left to train on: all {} are longer than max_length {max_length}",
                self.dropped
            ))
            .hint("raise max_length, or use shorter rows")),
        }
    }
}

/// Whether an answer ends in a token that stops generation; templates write white space after it.
fn ends(chat: &Chat, answer: &[u32]) -> Result<bool> {
    let stops = chat.stop_ids();
    match answer.iter().rposition(|id| stops.contains(id)) {
        Some(at) if at + 1 == answer.len() => Ok(true),
        Some(at) => Ok(chat.decode(&answer[at + 1..], false)?.trim().is_empty()),
        None => Ok(false),
    }
}

/// Pairs as examples: the chosen sequence first. `scored` marks the response's tokens for log-probs; a reward
/// model pools and scores none.
///
/// # Errors
/// A row the template cannot render.
pub fn pairs(rows: &[Preference], chat: &Chat, limits: &Limits, scored: bool) -> Result<Prepared> {
    let one = |row: &Preference| -> Result<Option<Kept>> {
        let mut pair = chat
            .preference(&row.prompt, &row.chosen, &row.rejected)
            .map_err(|e| e.at(&row.origin))?;
        let truncated = match limits.pair(&mut pair) {
            Fit::Dropped(_) => return Ok(None),
            fit => fit != Fit::Whole,
        };
        let sequence = |answer: &[u32]| match scored {
            true => Sequence::response(&pair.prompt, answer),
            false => Sequence::unscored([&pair.prompt[..], answer].concat()),
        };
        let example = Example {
            id: row.id.clone(),
            sequences: vec![sequence(&pair.chosen), sequence(&pair.rejected)],
            reference: Vec::new(),
            margin: row.margin,
            labels: Vec::new(),
        };
        let ended = ends(chat, &pair.chosen)? && ends(chat, &pair.rejected)?;
        Ok(Some(Kept {
            example,
            truncated,
            ended,
        }))
    };
    let found: Result<Vec<_>> = rows.par_iter().map(one).collect();
    Ok(Prepared {
        lacks_template: lacks_template(chat, rows.iter().map(|row| row.prompt.plain()))?,
        ..Prepared::gather(found?)
    })
}

/// Conversations as examples; running text is cut into pieces of the limit's length.
///
/// # Errors
/// A row the template cannot render.
pub fn texts(rows: &[Sft], chat: &Chat, limits: &Limits) -> Result<Prepared> {
    let one = |row: &Sft| -> Result<Vec<Option<Kept>>> {
        let spans = chat.sft(&row.messages).map_err(|e| e.at(&row.origin))?;
        let example = |tokens: Vec<u32>, scored: Vec<bool>| Example {
            id: row.id.clone(),
            sequences: vec![Sequence { tokens, scored }],
            reference: Vec::new(),
            margin: None,
            labels: Vec::new(),
        };
        if let SftText::Text(_) = row.messages {
            let pieces = spans
                .ids
                .chunks(limits.max_length)
                .zip(spans.scored.chunks(limits.max_length));
            let long = pieces.filter(|(ids, _)| ids.len() > 1);
            let piece = |(ids, scored): (&[u32], &[bool])| Kept {
                example: example(ids.to_vec(), scored.to_vec()),
                truncated: false,
                // Nobody answers here: most pieces end in the middle of a text by design.
                ended: true,
            };
            return Ok(long.map(|both| Some(piece(both))).collect());
        }
        let mut spans = spans;
        let fit = limits.spans(&mut spans);
        let last = spans.scored.iter().rposition(|scored| *scored);
        let Some(last) = last.filter(|_| !matches!(fit, Fit::Dropped(_))) else {
            return Ok(vec![None]);
        };
        let ended = ends(chat, &spans.ids[..=last])?;
        Ok(vec![Some(Kept {
            example: example(spans.ids, spans.scored),
            truncated: fit != Fit::Whole,
            ended,
        })])
    };
    let found: Result<Vec<_>> = rows.par_iter().map(one).collect();
    Ok(Prepared {
        lacks_template: lacks_template(chat, rows.iter().map(|row| row.messages.plain()))?,
        ..Prepared::gather(found?.into_iter().flatten().collect())
    })
}
