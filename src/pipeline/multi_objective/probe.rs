//! The probes and the matrix, as a stage of their own.

use super::super::context::Context;
use super::embed::Embedded;
use super::shards::{Pairs, Shards};
use crate::error::Result;
use crate::model::files::{Safetensors, StoreDtype, write_safetensors};
use crate::recipe::{MultiObjective, hash_of};
use crate::run::{StageDir, stage_key, write_json};
use crate::trainer::multi_objective::debias::Transform;
use crate::trainer::multi_objective::ridge::{self, Probe};
use blake3::Hash;
use serde::Serialize;

/// What the stage made.
pub(super) struct Probed {
    /// Names of the attributes.
    pub attributes: Vec<String>,
    /// The one that was taken out of the others.
    pub verbosity: Option<usize>,
    /// `[attributes, hidden]`, row-major.
    pub weights: Vec<f32>,
    /// `[attributes, attributes]`, row-major.
    pub matrix: Vec<f32>,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Of all that.
    pub digest: Hash,
}

/// A line of `multi-objective-probe.json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    attribute: &'a str,
    /// Rows that it was fitted on, and rows that chose `alpha`.
    rows: usize,
    validation_rows: usize,
    alpha: f64,
    validation_mse: f64,
    /// That of always saying the mean rating.
    mean_mse: f64,
    /// What was taken away of the attribute that is taken out, and Spearman's correlation with it before and after, over the
    /// responses of the pairs.
    penalty: Option<f64>,
    correlation_before: Option<f64>,
    correlation_after: Option<f64>,
}

pub(super) fn probe(
    cx: &Context,
    table: &MultiObjective,
    attributes: &[String],
    verbosity: Option<usize>,
    embedded: &Embedded,
) -> Result<Probed> {
    let inputs = [embedded.ratings.digest, embedded.pairs.digest];
    let threshold = table.debias.as_ref().map(|_| table.debias_threshold);
    let part = (hash_of(&attributes).to_string(), verbosity, threshold);
    let stage = cx
        .run
        .stage("multi-objective-probe", stage_key(&part, &inputs)?)?;
    let file = |stage: &StageDir| stage.file("safetensors");
    let hidden = embedded.ratings.hidden()?;
    let count = attributes.len();
    let done = stage.complete(|stage| {
        let shards = &embedded.ratings;
        let probes = ridge::probes(attributes, hidden, shards.len(), &|i| shards.rated(i))?;
        let weights: Vec<f32> = probes.iter().flat_map(|p| p.weights.clone()).collect();
        let transform = match verbosity {
            None => Transform::identity(count),
            Some(source) => {
                let columns = columns(&embedded.pairs, &weights, hidden)?;
                Transform::without(&columns, source, table.debias_threshold)
            }
        };
        tell(attributes, &probes, &transform, table);
        write_json(&stage.file("json"), &lines(attributes, &probes, &transform))?;
        let tensors = [
            (
                "regression_layer.weight".to_owned(),
                vec![count, hidden],
                weights,
            ),
            (
                "reward_transform_matrix".to_owned(),
                vec![count, count],
                transform.matrix,
            ),
        ];
        write_safetensors(&file(stage), &tensors, StoreDtype::F32)
    })?;
    let made = Safetensors::open_file(&file(&done))?;
    Ok(Probed {
        attributes: attributes.to_vec(),
        verbosity,
        weights: made.read("regression_layer.weight", &[count, hidden])?,
        matrix: made.read("reward_transform_matrix", &[count, count])?,
        hidden,
        digest: done.digest(),
    })
}

/// The rewards of each attribute for all responses of some pairs, the chosen one of each first.
pub(super) fn columns(pairs: &Shards, weights: &[f32], hidden: usize) -> Result<Vec<Vec<f64>>> {
    let mut columns = vec![Vec::new(); weights.len() / hidden];
    for number in 0..pairs.len() {
        let Pairs { embeddings, .. } = pairs.pairs(number)?;
        for state in embeddings.chunks_exact(hidden) {
            for (column, probe) in columns.iter_mut().zip(weights.chunks_exact(hidden)) {
                let terms = state.iter().zip(probe);
                column.push(terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum());
            }
        }
    }
    Ok(columns)
}

fn lines<'a>(attributes: &'a [String], probes: &[Probe], transform: &Transform) -> Vec<Line<'a>> {
    let each = attributes.iter().zip(probes).enumerate();
    each.map(|(i, (attribute, probe))| {
        let taken = transform.taken.get(i);
        Line {
            attribute,
            rows: probe.rows,
            validation_rows: probe.validation_rows,
            alpha: probe.alpha,
            validation_mse: probe.validation_mse,
            mean_mse: probe.mean_mse,
            penalty: taken.map(|taken| taken.penalty),
            correlation_before: taken.and_then(|taken| taken.before),
            correlation_after: taken.and_then(|taken| taken.after),
        }
    })
    .collect()
}

/// One line an attribute, and a warning where something came to nothing.
fn tell(attributes: &[String], probes: &[Probe], transform: &Transform, table: &MultiObjective) {
    for (i, (name, probe)) in attributes.iter().zip(probes).enumerate() {
        let taken = transform.taken.get(i).and_then(|taken| {
            let (before, after) = (taken.before?, taken.after?);
            Some(format!(
                "; {} of {} is taken out: their ranks correlate at {after:.2} instead of {before:.2}",
                taken.penalty,
                table.debias.as_deref().unwrap_or_default(),
            ))
        });
        tracing::info!(
            "multi-objective: {name}: {} rows, alpha {}, error {:.4} where the mean has {:.4}{}",
            probe.rows,
            probe.alpha,
            probe.validation_mse,
            probe.mean_mse,
            taken.unwrap_or_default()
        );
        if probe.validation_mse >= probe.mean_mse {
            tracing::warn!(
                "multi-objective: the probe of `{name}` says no more than its mean rating does: its rows are too few, the base \
                 model does not see it, or its ratings lie far from 0, which a probe without intercept cannot say: centre them"
            );
        }
        let left = transform.taken.get(i).and_then(|taken| taken.after);
        if left.is_some_and(|rho| rho > table.debias_threshold) {
            tracing::warn!(
                "multi-objective: `{name}` still rises with `{}` (Spearman {:.2}): taking away all of it is not enough, because \
                 its rewards are spread wider; scale its ratings down",
                table.debias.as_deref().unwrap_or_default(),
                left.unwrap_or_default()
            );
        }
    }
}
