//! The gate, the tree where one is wanted, and the whole model in the published layout.

use super::super::context::{Context, Policy};
use super::super::training::trained;
use super::embed::Embedded;
use super::probe::{Probed, columns};
use crate::data::Key;
use crate::error::Result;
use crate::model::build::Kept;
use crate::model::files::StoreDtype;
use crate::model::{Gate, GateShape, Gated, Tree};
use crate::recipe::{DecisionTree, MultiObjective, hash_of};
use crate::run::stage_key;
use crate::trainer::multi_objective::debias::Transform;
use crate::trainer::multi_objective::gate::{self, Contests, GateStep};
use crate::trainer::multi_objective::tree::{Growth, both_orders, grow};
use burn::tensor::{Device, Tensor, TensorData};

/// Steps between two lines of metrics.
const LOGGED: usize = 50;

pub(super) fn weigh(
    cx: &mut Context,
    base: &Policy,
    table: &MultiObjective,
    probed: &Probed,
    embedded: &Embedded,
) -> Result<Policy> {
    let seed = table.seed.unwrap_or(cx.recipe.seed);
    let inputs = [base.digest, probed.digest, embedded.pairs.digest];
    let part = (
        hash_of(&table.gate).to_string(),
        hash_of(&table.tree).to_string(),
        seed,
    );
    let name = "multi-objective";
    let stage = cx.run.stage(name, stage_key(&part, &inputs)?)?;
    let out = cx.run.layout().root().join(name).join("checkpoint");
    let done = stage.complete(|_| {
        let key = Key::new(seed).fold("multi-objective");
        let leads = leads(probed, embedded)?;
        let contests = contests(probed, embedded, &leads)?;
        let shape = GateShape {
            hidden_size: probed.hidden,
            inner: table.gate.hidden_size,
            layers: table.gate.n_hidden,
            attributes: probed.attributes.len(),
            temperature: table.gate.temperature,
        };
        let device = cx.device.clone();
        let gate = Gate::fresh(&shape, key.fold("gate"), &device)?
            .with_scale(table.gate.logit_scale as f32, &device);
        cx.metrics.resume(name, 0)?;
        tracing::info!(
            "{name}: a gate over {} attributes learns from {} pairs",
            shape.attributes,
            contests.pairs
        );
        let steps = table.gate.steps;
        let mut sink = |step: GateStep| -> Result<()> {
            if !step.step.is_multiple_of(LOGGED) && step.step != steps {
                return Ok(());
            }
            let values = [
                ("loss", step.loss),
                ("accuracy", step.accuracy),
                ("learning_rate", step.learning_rate),
            ];
            cx.metrics.record(name, step.step as u64, &values)?;
            tracing::info!(
                "{name}: step {}/{steps}  loss {:.4}  accuracy {:.4}",
                step.step,
                step.loss,
                step.accuracy
            );
            Ok(())
        };
        let gate = gate::train(gate, &contests, &table.gate, key, &device, &mut sink)?;
        // Whole and in f32, whatever the states were computed in: it is written.
        let model = base.load(&device, Kept::default())?;
        let tree = table.tree.as_ref().map(|how| tree(probed, &leads, how));
        let model = model.with_gated_head(head(probed, gate, tree, &device))?;
        model.save(&out, &model.decoder, None, StoreDtype::F32)
    })?;
    Ok(trained(&done, &out))
}

/// The head with a gate and, where one is wanted, a tree.
fn head(probed: &Probed, gate: Gate, tree: Option<Tree>, device: &Device) -> Gated {
    let count = probed.attributes.len();
    let matrix = |values: &[f32], width: usize| {
        let data = TensorData::new(values.to_vec(), [count, width]);
        Tensor::from_data(data, device)
    };
    Gated {
        attributes: probed.attributes.clone(),
        regression: matrix(&probed.weights, probed.hidden),
        transform: matrix(&probed.matrix, count),
        gate,
        tree,
    }
}

/// The tree over the differences of the rewards as the probes give them, not debiased: the published one reads those.
fn tree(probed: &Probed, leads: &[f32], how: &DecisionTree) -> Tree {
    let pairs = leads.len() / probed.attributes.len();
    let (differences, first) = both_orders(leads, pairs);
    let growth = Growth {
        max_depth: how.max_depth,
        min_samples_leaf: how.min_samples_leaf,
    };
    let tree = Tree {
        attributes: probed.attributes.clone(),
        root: grow(&differences, &first, growth),
    };
    tracing::info!("multi-objective: a tree over both orders of {pairs} pairs:");
    for line in tree.to_string().lines() {
        tracing::info!("multi-objective:   {line}");
    }
    tree
}

/// How far the chosen response of each pair leads in each attribute, `[pairs, attributes]`.
fn leads(probed: &Probed, embedded: &Embedded) -> Result<Vec<f32>> {
    let columns = columns(&embedded.pairs, &probed.weights, probed.hidden)?;
    let pairs = columns.first().map_or(0, |column| column.len() / 2);
    let lead = |pair: usize| {
        columns
            .iter()
            .map(move |column| (column[2 * pair] - column[2 * pair + 1]) as f32)
    };
    Ok((0..pairs).flat_map(lead).collect())
}

/// The pairs as the gate sees them. Rewards are debiased first: the gate learns to weigh what it will be given (D4).
fn contests(probed: &Probed, embedded: &Embedded, leads: &[f32]) -> Result<Contests> {
    let hidden = probed.hidden;
    let transform = Transform {
        matrix: probed.matrix.clone(),
        taken: Vec::new(),
    };
    let mut contests = Contests::default();
    for number in 0..embedded.pairs.len() {
        let pairs = embedded.pairs.pairs(number)?;
        // Both responses of a pair have the same question.
        for pair in pairs.questions.chunks_exact(2 * hidden) {
            contests.questions.extend(&pair[..hidden]);
        }
        contests.pairs += pairs.rows;
    }
    for lead in leads.chunks_exact(probed.attributes.len()) {
        contests.leads.extend(transform.apply(lead));
    }
    Ok(contests)
}
