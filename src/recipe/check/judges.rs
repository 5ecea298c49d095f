//! Of the tables that train models which judge.

use super::super::Recipe;
use super::Check;

impl Check<'_> {
    pub(super) fn trained_judges(&mut self, recipe: &Recipe) {
        if let Some(reward) = &recipe.reward {
            self.split("reward", &reward.data, reward.eval.as_ref());
            self.lora("reward", reward.lora.as_ref());
            let options = [
                ("use_margin", reward.use_margin),
                (
                    "center_rewards_coefficient",
                    reward.center_rewards_coefficient.is_some(),
                ),
            ];
            for (key, _) in options
                .iter()
                .filter(|(_, on)| *on && reward.odin.is_some())
            {
                self.complain(
                    &format!("reward.{key}"),
                    format!("`[reward.odin]` has a loss of its own, which knows no `{key}`"),
                    "leave one of the two out",
                );
            }
            if reward.second_seed == Some(reward.seed.unwrap_or(recipe.seed)) {
                self.complain(
                    "reward.second_seed",
                    "the second reward model would be the first one again: the seeds are equal",
                    "choose another `second_seed`",
                );
            }
        }
        if let Some(table) = &recipe.multi_objective {
            self.multi_objective(table);
        }
        if let Some(pairwise) = &recipe.pairwise {
            self.split("pairwise", &pairwise.data, pairwise.eval.as_ref());
            self.lora("pairwise", pairwise.lora.as_ref());
            if let Some(ssrm) = &pairwise.ssrm {
                self.data("pairwise.ssrm.data", &ssrm.data);
            }
            if pairwise.ssrm.is_some() && pairwise.rrm.is_some() {
                self.complain(
                    "pairwise.rrm",
                    "`[pairwise.ssrm]` and `[pairwise.rrm]` both say what to learn from beside the pairs",
                    "leave one of the two out",
                );
            }
        }
        if let Some(verifier) = &recipe.verifier {
            self.split("verifier", &verifier.data, verifier.eval.as_ref());
            self.lora("verifier", verifier.lora.as_ref());
            if verifier.separator.is_empty() {
                self.complain(
                    "verifier.separator",
                    "nothing stands between two steps: every character would be one",
                    "write what separates the steps, usually \"\\n\\n\" or \"\\n\"",
                );
            }
        }
    }
}
