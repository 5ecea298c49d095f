//! The embedding pass: hidden states of rated responses and of pairs. A run that is stopped goes on behind the last whole shard.

use super::super::context::{Context, Policy};
use super::super::examples::{self, Prepared};
use super::questions;
use super::shards::{self, Shards};
use crate::data::{Preference, Rating};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::{MultiObjective, hash_of};
use crate::run::{StageDir, interrupt, stage_key};
use crate::text::Limits;
use crate::trie::{Sequence, Trie, pack};
use blake3::Hash;
use burn::tensor::Tensor;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// What was embedded.
pub(super) struct Embedded {
    /// Rated responses.
    pub ratings: Shards,
    /// Pairs to learn from, which are the reference set, too.
    pub pairs: Shards,
    /// Pairs to evaluate on.
    pub held_out: Option<Shards>,
}

/// A row on its way into a shard.
struct Row {
    sequences: Vec<Sequence>,
    /// Ratings, and whether it only validates.
    labels: Option<(Vec<f32>, bool)>,
}

/// Makes rows of a set, and counts those that are too long.
type Encode<'a> = dyn FnMut(&Model, &Limits) -> Result<(Vec<Row>, usize)> + 'a;

/// Reads the base model once, when the first stage needs it.
pub(super) struct Embedder<'a> {
    cx: &'a Context,
    base: &'a Policy,
    table: &'a MultiObjective,
    model: Option<Model>,
}

impl<'a> Embedder<'a> {
    pub fn new(cx: &'a Context, base: &'a Policy, table: &'a MultiObjective) -> Self {
        Self {
            cx,
            base,
            table,
            model: None,
        }
    }

    /// The stage of the rated responses: those to fit on, then those to validate on.
    ///
    /// # Errors
    /// A row that cannot be rendered, ^C, or a failed write.
    pub fn ratings(&mut self, attributes: &[String], parts: [Vec<Rating>; 2]) -> Result<Shards> {
        // The same file may be read in other ways.
        let table = &self.table.ratings;
        let inputs = [examples::hash(table)?, hash_of(table), hash_of(&attributes)];
        self.stage("multi-objective-ratings", &inputs, &mut |model, limits| {
            let mut rows = Vec::new();
            let mut dropped = 0;
            for (part, validation) in parts.iter().zip([false, true]) {
                for row in part {
                    match questions::rated(row, &model.chat, limits)? {
                        Some(sequence) => rows.push(Row {
                            sequences: vec![sequence],
                            labels: Some((row.ratings.clone(), validation)),
                        }),
                        None => dropped += 1,
                    }
                }
            }
            Ok((rows, dropped))
        })
    }

    /// The stage `name` of some pairs.
    ///
    /// # Errors
    /// A row that cannot be rendered, ^C, or a failed write.
    pub fn pairs(&mut self, name: &str, pairs: &[Preference]) -> Result<Shards> {
        let table = self.table;
        let mut inputs = vec![examples::hash(&table.data)?];
        inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
        inputs.push(hash_of(&(&table.data, &table.eval)));
        let ids: Vec<&str> = pairs.iter().map(|row| row.id.as_str()).collect();
        inputs.push(hash_of(&ids));
        self.stage(name, &inputs, &mut |model, limits| {
            let prepared = questions::pairs(pairs, &model.chat, limits)?;
            let Prepared {
                examples, dropped, ..
            } = prepared;
            let row = |example: crate::objective::Example| Row {
                sequences: example.sequences,
                labels: None,
            };
            Ok((examples.into_iter().map(row).collect(), dropped))
        })
    }

    fn stage(&mut self, name: &str, inputs: &[Hash], encode: &mut Encode) -> Result<Shards> {
        let Self {
            cx, base, table, ..
        } = *self;
        let seed = hash_of(&cx.recipe.seed);
        let inputs = [&[base.digest, seed], inputs].concat();
        let part = (table.max_length, table.overlong);
        let stage = cx.run.stage(name, stage_key(&part, &inputs)?)?;
        let done = stage.complete(|stage| {
            if self.model.is_none() {
                self.model = Some(base.load(&cx.device, cx.frozen())?);
            }
            let model = self.model.as_ref().expect("just loaded");
            let limits = examples::limits(table.max_length, table.overlong, model);
            let (rows, dropped) = encode(model, &limits)?;
            if dropped > 0 {
                tracing::warn!(
                    "{name}: {dropped} of {} rows are longer than max_length {} and are left out",
                    rows.len() + dropped,
                    limits.max_length
                );
            }
            if rows.is_empty() {
                return Err(Error::data(format!(
                    "{name}: no row is left: all {dropped} are longer than max_length {}",
                    limits.max_length
                ))
                .hint("raise multi_objective.max_length, or use shorter rows"));
            }
            embed(stage, model, &rows, table.max_tokens_per_batch)
        })?;
        Shards::of(done.folder()?, done.digest())
    }
}

/// Writes the shards that are not there yet. Each is computed alone, so that one that is made after a stop has the same bits.
fn embed(stage: &StageDir, model: &Model, rows: &[Row], budget: usize) -> Result<()> {
    let folder = stage.folder()?;
    let count = rows.len().div_ceil(shards::ROWS);
    let span = info_span!("embed");
    span.pb_set_message(stage.name());
    span.pb_set_length(rows.len() as u64);
    let _entered = span.enter();
    for (number, rows) in rows.chunks(shards::ROWS).enumerate() {
        let path = shards::path(&folder, number, count);
        if !path.exists() {
            let states = states(model, rows, budget)?;
            shards::write(&path, &tensors(rows, states, model))?;
            tracing::info!("{}: shard {} of {count}", stage.name(), number + 1);
        }
        span.pb_inc(rows.len() as u64);
        if interrupt::requested() && number + 1 < count {
            return Err(interrupt::error("stopped while embedding"));
        }
    }
    Ok(())
}

/// The states of all sequences in turn, `[sequences, hidden]` each: at their ends, and where their questions end.
fn states(model: &Model, rows: &[Row], budget: usize) -> Result<[Vec<f32>; 2]> {
    let sizes: Vec<usize> = rows
        .iter()
        .map(|row| Trie::new(&row.sequences).len())
        .collect();
    let mut both = [Vec::new(), Vec::new()];
    for run in pack(&sizes, budget) {
        let flat = rows[run].iter().flat_map(|row| &row.sequences);
        let flat: Vec<Sequence> = flat.cloned().collect();
        let found = model.decoder.embeddings(&Trie::new(&flat));
        for (all, states) in both.iter_mut().zip(found) {
            all.extend(host(states));
        }
    }
    match both.iter().flatten().all(|state| state.is_finite()) {
        true => Ok(both),
        false => Err(Error::data("a hidden state is not finite")
            .hint("look at the base model: its training may have diverged")),
    }
}

fn tensors(
    rows: &[Row],
    [last, questions]: [Vec<f32>; 2],
    model: &Model,
) -> Vec<crate::model::files::NamedTensor> {
    let hidden = model.decoder.spec.hidden_size;
    let count = rows.len();
    let labels: Vec<&(Vec<f32>, bool)> =
        rows.iter().filter_map(|row| row.labels.as_ref()).collect();
    if labels.len() < count {
        let shape = vec![count, 2, hidden];
        return vec![
            ("embeddings".to_owned(), shape.clone(), last),
            ("prompt_embeddings".to_owned(), shape, questions),
        ];
    }
    let validation = labels.iter().map(|(_, only)| f32::from(u8::from(*only)));
    let validation: Vec<f32> = validation.collect();
    let ratings: Vec<f32> = labels
        .iter()
        .flat_map(|(labels, _)| labels.clone())
        .collect();
    vec![
        ("embeddings".to_owned(), vec![count, hidden], last),
        (
            "labels".to_owned(),
            vec![count, ratings.len() / count],
            ratings,
        ),
        ("validation".to_owned(), vec![count], validation),
    ]
}

fn host(states: Tensor<2>) -> Vec<f32> {
    states.into_data().iter::<f32>().collect()
}
