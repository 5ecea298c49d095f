//! What the judge of the rounds takes: it reads every response, or every two of a prompt beside each other.

use super::base::{Base, named};
use super::judges::Unread;
use super::{Planner, scored};
use crate::recipe::{Judge, Recipe, Rounds, VerifierKind};

/// What a round has its judge read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub prompts: usize,
    /// Tokens of a prompt.
    pub prompt: usize,
    /// How many there are to a prompt.
    pub responses: usize,
    /// Tokens of a response.
    pub response: usize,
}

impl Judged {
    /// Of a judge that reads one response after the other: what they share is read once.
    fn apart(self) -> u64 {
        (self.prompts * (self.prompt + self.responses * self.response)) as u64
    }

    /// Of one that is shown two at a time, in both orders.
    fn beside(self, rounds: Rounds) -> u64 {
        let k = self.responses;
        let matches = match rounds {
            Rounds::RoundRobin => k * k.saturating_sub(1) / 2,
            Rounds::KnockOut => k.saturating_sub(1),
        };
        (self.prompts * matches * 2 * (self.prompt + 2 * self.response)) as u64
    }
}

/// A model by name and revision.
type Named<'a> = (Option<&'a str>, Option<&'a str>);

impl Planner<'_> {
    /// The judge of the rounds: a model of its own shape where its table names one, else one that the run trains. A rule, a
    /// program and an endpoint take nothing that could be told.
    pub(super) fn scores(&mut self, base: &Base, judge: &Judge, judged: Judged, rounds: f64) {
        let named_here = own(judge);
        let recipe = self.recipe;
        let (stage, tokens, writes) = match judge.named()[..] {
            [] | ["reward"] => ("online.judge.reward", judged.apart(), false),
            // A decision tree reads each response once and compares what it read.
            ["pairwise"] if named_here.0.is_none() && recipe.pairwise.is_none() => {
                ("online.judge.pairwise", judged.apart(), false)
            }
            ["pairwise"] => {
                let meet = judge.pairwise.as_ref().map(|table| table.rounds);
                let tokens = judged.beside(meet.unwrap_or_default());
                ("online.judge.pairwise", tokens, true)
            }
            ["verifier"] => {
                let scalar = |table: &crate::recipe::Verifier| table.kind == VerifierKind::Scalar;
                let scalar = recipe.verifier.as_ref().is_some_and(scalar);
                let writes = named_here.0.is_some() || !scalar;
                ("online.judge.verifier", judged.apart(), writes)
            }
            _ => return,
        };
        let (name, revision) = named_here;
        let (spec, kept) = match self.own(stage, name, revision) {
            Err(Unread) => return,
            Ok(Some(own)) => (own.spec, self.kept().unpacked()),
            Ok(None) => match trained(recipe, stage) {
                (Some(name), revision) => match named(name, revision) {
                    Ok(own) => (own.spec, self.kept()),
                    // Whoever trains it has said why.
                    Err(_) => return,
                },
                _ => (base.spec.clone(), self.kept()),
            },
        };
        // Of the head that writes, a verdict reads two rows.
        let spec = if writes { spec } else { scored(&spec) };
        self.scoring("round-*/scores", &spec, Some([tokens, 0]), rounds, kept);
    }
}

/// The model that the judge's table names.
fn own(judge: &Judge) -> Named<'_> {
    let reward = judge.reward.as_ref();
    let reward = reward.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    let pairwise = judge.pairwise.as_ref();
    let pairwise = pairwise.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    let verifier = judge.verifier.as_ref();
    let verifier = verifier.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    reward.or(pairwise).or(verifier).unwrap_or_default()
}

/// The model that the run's own judge begins with, where its table names one.
fn trained<'a>(recipe: &'a Recipe, stage: &str) -> Named<'a> {
    let reward = recipe.reward.as_ref();
    let reward = reward.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    let objectives = recipe.multi_objective.as_ref();
    let objectives = objectives.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    let pairwise = recipe.pairwise.as_ref();
    let pairwise = pairwise.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    let verifier = recipe.verifier.as_ref();
    let verifier = verifier.map(|t| (t.model_name_or_path.as_deref(), t.revision.as_deref()));
    match stage {
        // Without a pairwise model it is the multi-objective one, by its tree.
        "online.judge.pairwise" => pairwise.or(objectives),
        "online.judge.verifier" => verifier,
        _ => objectives.filter(|(name, _)| name.is_some()).or(reward),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_beside_each_other_are_read_in_both_orders_and_a_knock_out_has_one_match_less_than_answers()
     {
        let judged = Judged {
            prompts: 3,
            prompt: 10,
            responses: 4,
            response: 5,
        };
        assert_eq!(judged.apart(), 3 * (10 + 4 * 5));
        assert_eq!(judged.beside(Rounds::RoundRobin), 3 * 6 * 2 * 20);
        assert_eq!(judged.beside(Rounds::KnockOut), 3 * 3 * 2 * 20);
    }
}
