//! Who judges an evaluation: everybody whom the recipe names or trains.

use super::context::Context;
use super::judges::{Own, Seat};
use crate::error::Result;
use crate::recipe::{self, Eval, Recipe};

/// The judges of `[eval]` by name, the first of which is the headline: what is no model first, for the run has not trained on
/// it, then the run's own models, then those that tables name.
///
/// # Errors
/// A model that is not there.
pub fn jury(cx: &Context, table: &Eval, own: &Own) -> Result<Vec<(String, Seat)>> {
    let mut judges = Vec::new();
    if let Some(rule) = &table.rule {
        judges.push(("rule".to_owned(), Seat::Rule(rule.clone())));
    }
    if let Some(command) = &table.command {
        judges.push(("command".to_owned(), Seat::Command(command.clone())));
    }
    if let Some(remote) = &table.remote {
        judges.push(("remote".to_owned(), Seat::Remote(remote.clone())));
    }
    let looped = cx.recipe.online.as_ref().map(|online| &online.judge);
    judges.extend(trained(looped, own)?);
    // The loop's own judge has a say even where the run did not train it.
    if let Some(judge) = looped.filter(|judge| judge.names_a_model()) {
        judges.push(("judge".to_owned(), Seat::of(judge, own)?));
    }
    judges.extend(named(table, own)?);
    Ok(judges)
}

/// The run's own models. The verifier sums its steps up as the rounds have it, where it judges those.
fn trained(looped: Option<&recipe::Judge>, own: &Own) -> Result<Vec<(String, Seat)>> {
    let mut judges = Vec::new();
    for (name, policy) in own.all_rewards() {
        judges.push((name.to_owned(), Seat::Own(policy.clone())));
    }
    for (name, policy) in [("pairwise", &own.pairwise), ("tree", &own.tree)] {
        let table = recipe::PairwiseJudge::default();
        let seat = policy
            .clone()
            .map(|policy| Seat::Pairwise(policy, true, table));
        judges.extend(seat.map(|seat| (name.to_owned(), seat)));
    }
    if own.verifier.is_some() {
        let of_rounds = looped.and_then(|judge| judge.verifier.clone());
        let of_rounds = of_rounds.filter(|table| table.model_name_or_path.is_none());
        let table = of_rounds.unwrap_or_default();
        judges.push(("verifier".to_owned(), Seat::verifier(&table, own)?));
    }
    Ok(judges)
}

/// The models that the evaluation's own tables name, by those names.
fn named(table: &Eval, own: &Own) -> Result<Vec<(String, Seat)>> {
    let mut judges = Vec::new();
    let name = |name: &Option<String>, table: &str| name.clone().unwrap_or_else(|| table.into());
    if let Some(pairwise) = &table.pairwise {
        let name = name(&pairwise.model_name_or_path, "pairwise");
        judges.push((name, Seat::pairwise(pairwise, own)?));
    }
    if let Some(verifier) = &table.verifier {
        let name = name(&verifier.model_name_or_path, "verifier");
        judges.push((name, Seat::verifier(verifier, own)?));
    }
    if let Some(reward) = &table.reward {
        let name = name(&reward.model_name_or_path, "reward");
        judges.push((name, Seat::reward(reward, own)?));
    }
    Ok(judges)
}

/// Whether `[eval]` has no judge but the models that the run trains.
pub fn only_own(recipe: &Recipe) -> bool {
    let looped = recipe.online.as_ref();
    let looped = looped.is_some_and(|online| online.judge.names_a_model());
    !looped
        && recipe
            .eval
            .as_ref()
            .is_some_and(|eval| !eval.names_a_judge())
}

/// Whether `[eval]` of a command that needs no judge itself is to be judged by the run's multi-objective model, its pairwise
/// model and its verifier: there is no reward model, and nobody else judges.
pub fn needs_more_than_rewards(recipe: &Recipe) -> bool {
    recipe.reward.is_none() && only_own(recipe)
}
