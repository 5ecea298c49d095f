//! A multi-objective reward model: the hidden states of rated responses and of pairs, a probe for each attribute, a gate, and what
//! they come to on held-out pairs.
//!
//! - [`questions`]: rows as sequences that mark where the question ends
//! - `embed`: their hidden states, in shards that are kept as they come
//! - `probe`: rewards for the attributes, and the matrix that takes one of them out
//! - `weigh`: the gate, and the whole model
//! - `measure`: the accuracy on held-out pairs, beside fixed weights
//! - `tree`: what a decision tree over the attributes makes of any pairs

mod embed;
mod measure;
mod probe;
pub mod questions;
mod shards;
mod tree;
mod weigh;

pub use tree::scored;

use super::context::{Context, Policy};
use super::examples;
use crate::data::{self, Preference, Ratings, Report, load_ratings, split};
use crate::error::{Error, Result};
use crate::model::files::hub;
use crate::recipe::MultiObjective;
use embed::{Embedded, Embedder};

/// Fits the recipe's multi-objective reward model and measures it. `start` is the model whose hidden states are read where the table
/// names none.
///
/// # Errors
/// What is wrong with the data or the model, or a file that cannot be written.
pub fn multi_objective(cx: &mut Context, start: &Policy) -> Result<Option<Policy>> {
    let Some(table) = cx.recipe.multi_objective.clone() else {
        return Ok(None);
    };
    let base = match &table.model_name_or_path {
        Some(name) => {
            let path = hub::resolve(name, table.revision.as_deref(), false)?;
            Policy::at(&path)?.kept_as(cx)
        }
        None => start.clone(),
    };
    let (ratings, report) = ratings(&table)?;
    examples::tell(cx, "multi-objective-ratings", &report)?;
    let verbosity = attribute_to_take_out(&table, &ratings.attributes)?;
    let [pairs, held_out] = pairs(cx, &table)?;
    let attributes = ratings.attributes.clone();
    // A probe is not measured on what it was fitted to (D8).
    let measured = data::known_prompts(held_out.iter().map(|row| &row.prompt));
    let rated = ratings.rows.len();
    let rows: Vec<_> = ratings
        .rows
        .into_iter()
        .filter(|row| !data::is_among(&row.prompt, &measured))
        .collect();
    if rows.len() < rated {
        tracing::warn!(
            "multi-objective: {} rated responses are left out: their prompts are held out for the evaluation",
            rated - rows.len()
        );
    }
    let embedded = {
        let mut embedder = Embedder::new(cx, &base, &table);
        // Of a line of its own: that of the held-out pairs would cut where these rows were already taken away.
        let (fit, validation) = split(rows, VALIDATION, !cx.recipe.seed);
        Embedded {
            ratings: embedder.ratings(&attributes, [fit, validation])?,
            pairs: embedder.pairs("multi-objective-pairs", &pairs)?,
            held_out: match held_out.is_empty() {
                true => None,
                false => Some(embedder.pairs("multi-objective-held-out", &held_out)?),
            },
        }
    };
    let probed = probe::probe(cx, &table, &attributes, verbosity, &embedded)?;
    let policy = weigh::weigh(cx, &base, &table, &probed, &embedded)?;
    measure::measure(cx, &policy, &table, &probed, &embedded, &held_out)?;
    Ok(Some(policy))
}

/// Share of the rated prompts that only choose the probes' penalties, as ArmoRM's.
const VALIDATION: f64 = 0.2;

/// The rated rows of the table.
///
/// # Errors
/// Rows that cannot be read, or attributes that teach nothing.
pub fn ratings(table: &MultiObjective) -> Result<(Ratings, Report)> {
    let files = examples::files(&table.ratings)?;
    load_ratings(
        &files,
        &examples::options(&table.ratings),
        &table.attributes,
    )
}

/// The place of `debias` among the attributes.
///
/// # Errors
/// A name that is none of them.
pub fn attribute_to_take_out(
    table: &MultiObjective,
    attributes: &[String],
) -> Result<Option<usize>> {
    let Some(name) = &table.debias else {
        return Ok(None);
    };
    match attributes.iter().position(|own| own == name) {
        Some(at) => Ok(Some(at)),
        None => Err(Error::user(format!(
            "multi_objective.debias is `{name}`, which is no attribute of the ratings"
        ))
        .hint(format!("the attributes are {}", attributes.join(", ")))),
    }
}

/// Pairs to learn from and pairs to evaluate on, no prompt in both (D5).
fn pairs(cx: &Context, table: &MultiObjective) -> Result<[Vec<Preference>; 2]> {
    let load = examples::preferences;
    let name = "multi-objective";
    let both = examples::read(cx, name, load, &table.data, table.eval.as_ref())?;
    match both[0].is_empty() {
        false => Ok(both),
        true => Err(Error::data("no pair is left for the gate to learn from")
            .hint("lower multi_objective.data.held_out, or give more pairs")),
    }
}
