//! Pairs judged by a pairwise model, kept in a file as they come.

use super::super::context::{Context, Policy};
use super::super::examples;
use crate::data::Preference;
use crate::error::Result;
use crate::judge::{BothOrders, PairwiseModel};
use crate::recipe::{Pairwise, hash_of};
use crate::run::{Journal, Keyed, StageDir, read_rows, stage_key};
use crate::text::Comparison;
use blake3::Hash;
use serde::{Deserialize, Serialize};

/// What the model says of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Label {
    /// The pair's name.
    pub id: String,
    /// The probability that its first response is the better one, in the mean of both orders; none where the comparison is too
    /// long.
    pub p: Option<f32>,
}

impl Keyed for Label {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Comparisons between two looks at ^C and the file.
const TOGETHER: usize = 32;

/// The stage `name`: every row's label by `model`.
pub(super) fn label(
    cx: &mut Context,
    name: &str,
    model: &Policy,
    table: &Pairwise,
    rows: &[Preference],
    inputs: &[Hash],
) -> Result<Vec<Label>> {
    // Labels are read by their place: other rows are another stage.
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let inputs = [&[model.digest, hash_of(&ids)], inputs].concat();
    let part = (table.max_length, table.overlong);
    let stage = cx.run.stage(name, stage_key(&part, &inputs)?)?;
    let file = |stage: &StageDir| stage.file("jsonl");
    let done = stage.complete(|stage| {
        let (mut journal, known) = Journal::<Label>::open(&file(stage))?;
        let model = model.load(&cx.device, cx.frozen())?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let mut judge = PairwiseModel::new(&model, limits, table.train.max_tokens_per_batch)?;
        for rows in rows[known.len()..].chunks(TOGETHER) {
            let comparisons: Vec<Comparison> = rows
                .iter()
                .map(|row| Comparison::of(&model.chat, &row.prompt, &row.chosen, &row.rejected))
                .collect::<Result<_>>()?;
            for (row, both) in rows.iter().zip(judge.ask(&comparisons)?) {
                journal.append(&Label {
                    id: row.id.clone(),
                    p: both.map(BothOrders::first),
                })?;
            }
            if crate::run::interrupt::requested() {
                return Err(crate::run::interrupt::error("stopped while labelling"));
            }
        }
        journal.finish()
    })?;
    read_rows(&file(&done))
}
