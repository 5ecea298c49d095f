//! How often a verifier is right about held-out steps or solutions, beside who always says the same.

use super::super::context::{Context, Policy};
use super::super::examples;
use super::super::worth;
use super::{rows, solutions};
use crate::error::{Error, Result};
use crate::eval::Classified;
use crate::model::Model;
use crate::objective::Example;
use crate::recipe::{Verifier, VerifierKind};
use crate::run::{stage_key, write_atomic};
use crate::text::Marks;
use crate::trie::{Trie, pack};

/// `verifier-eval.json`: what it says of the held-out rows, as a stage of its own.
pub(super) fn measure(cx: &mut Context, policy: &Policy, table: &Verifier) -> Result<()> {
    let mut inputs = vec![policy.digest, examples::hash(&table.data)?];
    inputs.push(crate::recipe::hash_of(&(&table.data, table.max_length)));
    if let Some(eval) = &table.eval {
        inputs.extend([examples::hash(eval)?, crate::recipe::hash_of(eval)]);
    }
    let file = cx.run.layout().accuracy("verifier");
    let key = stage_key(&cx.recipe.seed, &inputs)?;
    cx.run.measurement("verifier-eval", key)?.complete(|_| {
        let [_, eval] = rows(cx, table)?;
        if eval.is_empty() {
            tracing::warn!(
                "verifier: nothing is measured, for nothing was held out: add --set verifier.data.held_out=0.1"
            );
            return write_atomic(&file, b"null\n");
        }
        let model = policy.load(&cx.device, cx.frozen())?;
        let limits = solutions::limits(table, &model.decoder.spec, &model.chat);
        let held_out = solutions(&eval, &model.chat, &limits, table)?;
        let held_out = held_out.held_out("verifier", limits.max_length);
        let said = said(&model, &held_out, table)?;
        let report = Classified::of(&said, crate::eval::statistics::CONFIDENCE);
        match &report {
            Some(report) => tracing::info!("verifier: {}", report.in_words()),
            None => tracing::warn!("verifier: nothing is measured: no held-out label is 0 or 1"),
        }
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|e| Error::internal(format!("cannot write the accuracy: {e}")))?;
        write_atomic(&file, &text)
    })?;
    worth::of_labels(cx, "verifier-eval", &file)
}

/// What the model says of every label, as a logit, and the label.
fn said(model: &Model, rows: &[Example], table: &Verifier) -> Result<Vec<(f64, f64)>> {
    let marks = match table.kind {
        VerifierKind::Scalar => None,
        _ => Some(Marks::of(&model.chat)?),
    };
    let tries: Vec<Trie> = rows.iter().map(|row| Trie::new(&row.sequences)).collect();
    let sizes: Vec<usize> = tries.iter().map(Trie::len).collect();
    let mut found = Vec::new();
    for run in pack(&sizes, table.train.max_tokens_per_batch) {
        let batch: Vec<_> = rows[run.clone()]
            .iter()
            .flat_map(|row| row.sequences.clone())
            .collect();
        let trie = Trie::new(&batch);
        let logits = match marks {
            Some(marks) => model.decoder.verdicts(&trie, [marks.good, marks.bad]),
            None => model.decoder.rewards(&trie),
        };
        let logits = logits.into_data().try_into_vec::<f32>();
        let logits = logits.map_err(|e| Error::internal(format!("{e:?}")))?;
        let labels = rows[run].iter().flat_map(|row| row.labels.clone());
        found.extend(logits.into_iter().map(f64::from).zip(labels.map(f64::from)));
    }
    Ok(found)
}
