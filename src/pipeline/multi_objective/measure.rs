//! The accuracy of a multi-objective model on held-out pairs, beside each attribute alone and fixed weights.

use super::super::context::{Context, Policy};
use super::super::examples;
use super::super::reward::{compare, in_words};
use super::super::worth;
use super::embed::Embedded;
use super::probe::{Probed, columns};
use super::questions;
use super::shards::Shards;
use crate::data::Preference;
use crate::data::summary::spearman;
use crate::error::Result;
use crate::eval::statistics::CONFIDENCE;
use crate::eval::{Accuracy, AccuracyReport};
use crate::judge::tree::prefer;
use crate::model::{Gated, Tree};
use crate::recipe::MultiObjective;
use crate::run::{stage_key, write_atomic, write_json};
use crate::trainer::multi_objective::debias::Transform;
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

/// `multi-objective-eval.json`.
#[derive(Debug, Serialize)]
struct Report {
    /// The model as it was saved, and the usual baselines.
    #[serde(flatten)]
    judge: AccuracyReport,
    /// What its parts come to on the same pairs.
    objectives: Objectives,
}

#[derive(Debug, Serialize)]
struct Objectives {
    /// The tree, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<Accuracy>,
    /// What it asks, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    printout: Option<String>,
    /// Equal weights for all rewards, and for all debiased ones.
    mean_of_rewards: Option<Accuracy>,
    mean_of_debiased: Option<Accuracy>,
    /// Each attribute.
    attributes: Vec<Attribute>,
}

#[derive(Debug, Serialize)]
struct Attribute {
    attribute: String,
    /// Its reward alone, and its debiased reward alone.
    reward: Option<Accuracy>,
    debiased: Option<Accuracy>,
    /// Its weight in the gate, and before the matrix, in the mean over the pairs.
    gate: f64,
    coefficient: f64,
    /// How much its weight in the gate differs from prompt to prompt: the standard deviation.
    gate_spread: f64,
    /// Spearman's correlation with the attribute that is taken out, over the held-out responses.
    correlation_before: Option<f64>,
    correlation_after: Option<f64>,
}

/// Measures `policy` on the held-out pairs, as a stage of its own.
pub(super) fn measure(
    cx: &mut Context,
    policy: &Policy,
    table: &MultiObjective,
    probed: &Probed,
    embedded: &Embedded,
    held_out: &[Preference],
) -> Result<()> {
    let mut inputs = vec![policy.digest, probed.digest];
    inputs.extend(embedded.held_out.as_ref().map(|shards| shards.digest));
    let file = cx.run.layout().accuracy("multi-objective");
    let key = stage_key(&table.max_length, &inputs)?;
    cx.run
        .measurement("multi-objective-eval", key)?
        .complete(|_| {
            let Some(shards) = &embedded.held_out else {
                tracing::warn!(
                    "multi-objective: the accuracy is not measured: nothing was held out: add --set \
                     multi_objective.data.held_out=0.1"
                );
                return write_atomic(&file, b"null\n");
            };
            let model = policy.load(&cx.device, cx.frozen())?;
            let limits = examples::limits(table.max_length, table.overlong, &model);
            let pairs = questions::pairs(held_out, &model.chat, &limits)?.examples;
            let budget = table.max_tokens_per_batch;
            let scored = compare(&model, held_out, &pairs, limits.max_length, budget)?;
            let judge = AccuracyReport::of(&scored, CONFIDENCE, 0)?;
            let gated = model.gated.as_ref().expect("this stage's model has a gate");
            let objectives = objectives(gated, probed, shards)?;
            tracing::info!("multi-objective: {}", in_words(&judge));
            tell("the tree is", objectives.tree);
            tell("equal weights are", objectives.mean_of_debiased);
            write_json(&file, &Report { judge, objectives })
        })?;
    worth::of_pairs(cx, "multi-objective-eval", &file)
}

fn tell(who: &str, right: Option<Accuracy>) {
    if let Some(right) = right {
        tracing::info!(
            "multi-objective: {who} right on {:.1} % ({:.1} to {:.1})",
            100.0 * right.accuracy,
            100.0 * right.low,
            100.0 * right.high
        );
    }
}

/// What each attribute comes to on some pairs.
fn objectives(gated: &Gated, probed: &Probed, shards: &Shards) -> Result<Objectives> {
    let count = probed.attributes.len();
    let raw = columns(shards, &probed.weights, probed.hidden)?;
    let debiased = debiased(&raw, probed);
    let [gate, coefficients] = weights(gated, probed, shards)?;
    let mean = |columns: &[Vec<f64>]| -> Vec<f64> {
        let responses = columns.first().map_or(0, Vec::len);
        let sum = |at: usize| columns.iter().map(|column| column[at]).sum();
        (0..responses).map(sum).collect()
    };
    let over_pairs = |rows: &[Vec<f32>], i: usize| -> (f64, f64) {
        let values: Vec<f64> = rows.iter().map(|row| f64::from(row[i])).collect();
        let mean = crate::data::summary::mean(&values).unwrap_or_default();
        (
            mean,
            crate::data::summary::deviation(&values).unwrap_or_default(),
        )
    };
    let correlation = |column: &[f64], i: usize| {
        let source = probed.verbosity.filter(|source| *source != i)?;
        spearman(column, &raw[source])
    };
    let attributes = (0..count).map(|i| {
        let (weight, spread) = over_pairs(&gate, i);
        Attribute {
            attribute: probed.attributes[i].clone(),
            reward: right(&raw[i]),
            debiased: right(&debiased[i]),
            gate: weight,
            coefficient: over_pairs(&coefficients, i).0,
            gate_spread: spread,
            correlation_before: correlation(&raw[i], i),
            correlation_after: correlation(&debiased[i], i),
        }
    });
    let by_tree = gated
        .tree
        .as_ref()
        .and_then(|tree| right(&preferred(tree, &raw)));
    Ok(Objectives {
        tree: by_tree,
        printout: gated.tree.as_ref().map(Tree::to_string),
        attributes: attributes.collect(),
        mean_of_rewards: right(&mean(&raw)),
        mean_of_debiased: right(&mean(&debiased)),
    })
}

/// The tree's probability of each response of a pair to be the better one, the chosen one of each first.
fn preferred(tree: &Tree, raw: &[Vec<f64>]) -> Vec<f64> {
    let responses = raw.first().map_or(0, Vec::len);
    let rewards = |at: usize| -> Vec<f32> { raw.iter().map(|column| column[at] as f32).collect() };
    let pair = |at: usize| {
        let chosen = f64::from(prefer(tree, &rewards(at), &rewards(at + 1)));
        [chosen, 1.0 - chosen]
    };
    (0..responses).step_by(2).flat_map(pair).collect()
}

/// The rewards of every response times the matrix, column by column.
fn debiased(raw: &[Vec<f64>], probed: &Probed) -> Vec<Vec<f64>> {
    let transform = Transform {
        matrix: probed.matrix.clone(),
        taken: Vec::new(),
    };
    let mut columns = vec![Vec::new(); raw.len()];
    for response in 0..raw.first().map_or(0, Vec::len) {
        let rewards: Vec<f32> = raw.iter().map(|column| column[response] as f32).collect();
        for (column, reward) in columns.iter_mut().zip(transform.apply(&rewards)) {
            column.push(f64::from(reward));
        }
    }
    columns
}

/// The gate's weights and the coefficients for each pair's question.
fn weights(gated: &Gated, probed: &Probed, shards: &Shards) -> Result<[Vec<Vec<f32>>; 2]> {
    let device = gated.regression.device();
    let mut all = [Vec::new(), Vec::new()];
    for number in 0..shards.len() {
        let pairs = shards.pairs(number)?;
        let table = |values: Vec<f32>| -> Tensor<2> {
            let first = values.chunks_exact(2 * probed.hidden);
            let first: Vec<f32> = first
                .flat_map(|pair| pair[..probed.hidden].to_vec())
                .collect();
            Tensor::from_data(TensorData::new(first, [pairs.rows, probed.hidden]), &device)
        };
        let opinions = gated.opinions([table(pairs.embeddings), table(pairs.questions)]);
        all[0].extend(opinions.gate);
        all[1].extend(opinions.coefficients);
    }
    Ok(all)
}

/// How often the chosen response, the first of each two, has more.
fn right(scores: &[f64]) -> Option<Accuracy> {
    let credit = |pair: &[f64]| match pair[0] - pair[1] {
        lead if lead > 0.0 => 1.0,
        lead if lead < 0.0 => 0.0,
        _ => 0.5,
    };
    let credits: Vec<f64> = scores.chunks_exact(2).map(credit).collect();
    Accuracy::of(&credits, CONFIDENCE)
}
