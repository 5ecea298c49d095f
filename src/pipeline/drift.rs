//! How far a policy is from the one it started from: KL, estimated on responses that the policy itself has drawn.

use super::context::{Context, Policy};
use super::pairs::logps;
use super::responses::GroupRow;
use crate::error::Result;
use crate::model::{Decoder, Model};
use crate::objective::Example;
use crate::text::{Chat, Fit, Limits, Prompt};
use crate::trie::Sequence;

/// Mean over the responses of `log policy(y|x) - log start(y|x)`, nats per response: KL(policy || start) where they
/// were drawn at temperature 1 from all tokens, and a measure of the same distance elsewhere.
///
/// # Errors
/// A model that cannot be read, or ^C.
pub fn kl(
    cx: &Context,
    [policy, start]: [&Policy; 2],
    rows: &[GroupRow],
    limits: &dyn Fn(&Model) -> Limits,
) -> Result<f64> {
    if policy.digest == start.digest {
        return Ok(0.0);
    }
    let model = policy.load(&cx.device, cx.frozen())?;
    let rows = examples(rows, &model.chat, &limits(&model))?;
    let rows: Vec<&Example> = rows.iter().collect();
    let own = sum(&model.decoder, &rows)?;
    drop(model);
    let start = start.load(&cx.device, cx.frozen())?;
    Ok((own - sum(&start.decoder, &rows)?) / rows.len().max(1) as f64)
}

/// One sequence a response, with the end marker only where the response ended.
fn examples(rows: &[GroupRow], chat: &Chat, limits: &Limits) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for row in rows {
        let prompt: Prompt = row.prompt.clone().into();
        for (k, (response, finished)) in row.responses.iter().zip(row.finished()).enumerate() {
            let mut encoded = chat.response(&prompt, response, finished)?;
            let fit = limits.response(&mut encoded);
            if encoded.answer.is_empty() || matches!(fit, Fit::Dropped(_)) {
                continue;
            }
            examples.push(Example {
                id: format!("{}/{k}", row.id),
                sequences: vec![Sequence::response(&encoded.prompt, &encoded.answer)],
                reference: Vec::new(),
                margin: None,
                labels: Vec::new(),
            });
        }
    }
    Ok(examples)
}

/// The log-probs of all rows together, nats.
fn sum(decoder: &Decoder, rows: &[&Example]) -> Result<f64> {
    let mut sum = 0.0;
    let budget = super::judges::TOKENS_PER_BATCH;
    logps(decoder, rows, 0, budget, "KL", &mut |_, logps| {
        sum += logps.iter().map(|&l| f64::from(l)).sum::<f64>();
        Ok(())
    })?;
    Ok(sum)
}
