//! What can be known to be wrong before anything is computed: a stage that begins hours later should not end at the
//! first line of its file.

use super::examples::Load;
use super::{examples, judges, multi_objective, verifier};
use crate::error::Result;
use crate::recipe::{Data, Recipe};

/// Reads every row that any stage will read, and parses every rule.
///
/// # Errors
/// The first mistake, with its file and line.
pub fn check(recipe: &Recipe) -> Result<()> {
    judges::check(recipe)?;
    if let Some(sft) = &recipe.sft {
        all(&sft.data, sft.eval.as_ref(), examples::conversations)?;
    }
    if let Some(reward) = &recipe.reward {
        all(&reward.data, reward.eval.as_ref(), examples::preferences)?;
    }
    if let Some(table) = &recipe.multi_objective {
        all(&table.data, table.eval.as_ref(), examples::preferences)?;
        let (ratings, _) = multi_objective::ratings(table)?;
        multi_objective::attribute_to_take_out(table, &ratings.attributes)?;
    }
    if let Some(pairwise) = &recipe.pairwise {
        all(
            &pairwise.data,
            pairwise.eval.as_ref(),
            examples::preferences,
        )?;
    }
    if let Some(ssrm) = recipe.pairwise.as_ref().and_then(|t| t.ssrm.as_ref()) {
        all(&ssrm.data, None, examples::prompts)?;
    }
    if let Some(table) = &recipe.verifier {
        verifier::check(recipe, table)?;
    }
    if let Some(dpo) = &recipe.dpo {
        all(&dpo.data, dpo.eval.as_ref(), examples::preferences)?;
    }
    if let Some(online) = &recipe.online {
        let load = judges::prompts_for(online.judge.rule.as_ref());
        all(&online.prompts, None, load)?;
        if let Some(offline) = &online.offline {
            all(offline, None, examples::preferences)?;
        }
    }
    match &recipe.eval {
        Some(eval) => {
            let load = judges::prompts_for(eval.rule.as_ref());
            all(&eval.prompts, None, load)
        }
        None => Ok(()),
    }
}

fn all<T>(data: &Data, eval: Option<&Data>, load: Load<T>) -> Result<()> {
    std::iter::once(data)
        .chain(eval)
        .try_for_each(|data| load(data).map(|_| ()))
}
