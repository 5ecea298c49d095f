//! `pairs.jsonl` and `reference.jsonl`: which two responses make a pair, and what the reference thinks of them.

use super::responses::{GroupRow, PromptField};
use crate::data::Key;
use crate::error::Result;
use crate::generate::Finish;
use crate::judge::{PairCounts, PairRule, Scored};
use crate::model::Decoder;
use crate::objective::{Example, sequence_sums};
use crate::recipe::Pairs;
use crate::run::{Journal, Keyed, interrupt};
use crate::text::{Chat, Fit, Limits, Prompt};
use crate::trie::{Sequence, Trie, pack};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// One line of `pairs.jsonl`; other tools read it as a preference row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairRow {
    /// The prompt's name.
    pub id: String,
    /// The prompt.
    pub prompt: PromptField,
    /// The better response.
    pub chosen: String,
    /// The worse one.
    pub rejected: String,
    /// The judge's rewards, without penalties.
    pub chosen_score: f32,
    /// The judge's reward of the worse one.
    pub rejected_score: f32,
    /// Difference of the penalised rewards.
    pub margin: f32,
    /// How the better one ended.
    pub chosen_finish: Finish,
    /// How the worse one ended.
    pub rejected_finish: Finish,
}

impl Keyed for PairRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The rule of a recipe.
pub fn rule(table: &Pairs, key: Key) -> PairRule {
    PairRule {
        choose: table.choose,
        length_penalty: table.length_penalty as f32,
        missing_eos_penalty: table.missing_eos_penalty as f32,
        min_margin: table.min_margin as f32,
        key,
    }
}

/// At most one pair a prompt, and why the others gave none.
///
/// # Errors
/// A row whose lists have different lengths.
pub fn choose(rows: &[GroupRow], rule: &PairRule) -> Result<(Vec<PairRow>, PairCounts)> {
    let mut pairs = Vec::new();
    let mut counts = PairCounts::default();
    for row in rows {
        let finished = row.finished();
        let scored = Scored::new(&row.id, &row.responses, &row.rewards, &finished)?;
        let outcome = rule.pair(&scored);
        counts.add(&outcome);
        let Ok(pair) = outcome else { continue };
        pairs.push(PairRow {
            id: row.id.clone(),
            prompt: row.prompt.clone(),
            chosen: row.responses[pair.chosen].clone(),
            rejected: row.responses[pair.rejected].clone(),
            chosen_score: row.rewards[pair.chosen],
            rejected_score: row.rewards[pair.rejected],
            margin: pair.margin,
            chosen_finish: row.finish[pair.chosen],
            rejected_finish: row.finish[pair.rejected],
        });
    }
    Ok((pairs, counts))
}

/// Pairs as examples. A response that was cut by the length limit gets no end marker.
///
/// # Errors
/// A row the template cannot render.
pub fn examples(
    rows: &[PairRow],
    chat: &Chat,
    limits: &Limits,
) -> Result<super::examples::Prepared> {
    let mut prepared = super::examples::Prepared::default();
    for row in rows {
        let prompt: Prompt = row.prompt.clone().into();
        let chosen = (row.chosen.as_str(), row.chosen_finish == Finish::Stop);
        let rejected = (row.rejected.as_str(), row.rejected_finish == Finish::Stop);
        let mut pair = chat
            .response_pair(&prompt, chosen, rejected)
            .map_err(|e| e.at(format!("pair {}", row.id)))?;
        let fit = limits.pair(&mut pair);
        if matches!(fit, Fit::Dropped(_)) || pair.chosen.is_empty() || pair.rejected.is_empty() {
            prepared.dropped += 1;
            continue;
        }
        let sequence = |answer: &[u32]| Sequence::response(&pair.prompt, answer);
        let sequences = vec![sequence(&pair.chosen), sequence(&pair.rejected)];
        let cut = row.chosen_finish == Finish::Length || row.rejected_finish == Finish::Length;
        prepared.audit.rows += 1;
        prepared.audit.truncated += usize::from(fit != Fit::Whole);
        prepared.audit.equal_pairs += usize::from(sequences[0] == sequences[1]);
        prepared.audit.cut += usize::from(cut);
        prepared.examples.push(Example {
            id: row.id.clone(),
            sequences,
            reference: Vec::new(),
            margin: Some(row.margin),
            labels: Vec::new(),
        });
    }
    Ok(prepared)
}

/// One line of `reference.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// The pair's name.
    pub id: String,
    /// Log-prob of each sequence under the reference, nats.
    pub logps: Vec<f32>,
}

impl Keyed for ReferenceRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Log-probs of every sequence of the examples from `from` on, nats, each example handed to `done`. Those before are
/// known; batches are cut as if they were not, so that whoever goes on in the middle gets the same bits.
///
/// # Errors
/// ^C, or whatever `done` reports.
pub fn logps(
    decoder: &Decoder,
    examples: &[&Example],
    from: usize,
    budget: usize,
    what: &str,
    done: &mut dyn FnMut(&Example, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let span = info_span!("logps");
    span.pb_set_message(what);
    span.pb_set_length(examples.len() as u64);
    span.pb_set_position(from as u64);
    let _entered = span.enter();
    let sizes: Vec<usize> = examples
        .iter()
        .map(|e| Trie::new(&e.sequences).len())
        .collect();
    for run in pack(&sizes, budget) {
        if run.end <= from {
            continue;
        }
        if interrupt::requested() {
            return Err(interrupt::error(&format!("stopped in {what}")));
        }
        let batch = &examples[run.clone()];
        let sequences: Vec<Sequence> = batch.iter().flat_map(|e| e.sequences.clone()).collect();
        let trie = Trie::new(&sequences);
        let sums = sequence_sums(decoder.target_logprobs(&trie).logps, &trie);
        let sums: Vec<f32> = sums.into_data().iter::<f32>().collect();
        let mut rest = sums.into_iter();
        for (at, example) in run.zip(batch) {
            let of_example = rest.by_ref().take(example.sequences.len()).collect();
            if at >= from {
                done(example, of_example)?;
                span.pb_inc(1);
            }
        }
    }
    Ok(())
}

/// Fills in the reference's log-probs: computed once, kept in `file`, continued where an earlier run stopped.
///
/// # Errors
/// ^C, or a file that cannot be written.
pub fn reference(
    decoder: &Decoder,
    examples: &mut [Example],
    budget: usize,
    file: &Path,
) -> Result<()> {
    let (mut journal, mut rows) = Journal::<ReferenceRow>::open(file)?;
    let all: Vec<&Example> = examples.iter().collect();
    logps(
        decoder,
        &all,
        rows.len(),
        budget,
        "reference",
        &mut |example, logps| {
            let row = ReferenceRow {
                id: example.id.clone(),
                logps,
            };
            journal.append(&row)?;
            rows.push(row);
            Ok(())
        },
    )?;
    journal.finish()?;
    let by_id: std::collections::HashMap<&str, &Vec<f32>> = rows
        .iter()
        .map(|row| (row.id.as_str(), &row.logps))
        .collect();
    for example in examples {
        let logps = by_id.get(example.id.as_str()).ok_or_else(|| {
            crate::Error::data(format!("{} has no row `{}`", file.display(), example.id))
                .hint("delete the file: the stage writes it again")
        })?;
        example.reference = (*logps).clone();
    }
    Ok(())
}
