//! Of the tables that train models which judge, and of those that say who judges.

use super::super::{Eval, Judge, PairwiseJudge, Recipe, VerifierJudge};
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

    /// Who ranks the rounds' responses.
    pub(super) fn loop_judge(&mut self, recipe: &Recipe, judge: &Judge) {
        let own = judge
            .reward
            .as_ref()
            .and_then(|table| table.model_name_or_path.as_ref());
        let mut nobody = |key: &str, model: &str, hint: &str| {
            let fact = format!("nobody ranks the responses: there is no {model}");
            self.complain(key, fact, hint);
        };
        match judge.named()[..] {
            [one, other, ..] => {
                let fact =
                    format!("two judges: `[online.judge.{one}]` and `[online.judge.{other}]`");
                let hint = "keep the one that ranks the responses; `[eval]` may have several";
                self.complain("online.judge", fact, hint);
            }
            ["reward"] | [] if own.is_none() && !trains_reward(recipe) => nobody(
                "online.judge",
                "reward model",
                "add a `[reward]` table, or name one with `online.judge.reward.model_name_or_path`",
            ),
            ["pairwise"] if !compares(recipe) && !names_pairwise(judge.pairwise.as_ref()) => {
                nobody(
                    "online.judge.pairwise",
                    "pairwise model",
                    "add a `[pairwise]` or a `[multi_objective.tree]` table, or name one with `online.judge.pairwise.model_name_or_path`",
                )
            }
            ["verifier"]
                if recipe.verifier.is_none() && !names_verifier(judge.verifier.as_ref()) =>
            {
                nobody(
                    "online.judge.verifier",
                    "verifier",
                    "add a `[verifier]` table, or name one with `online.judge.verifier.model_name_or_path`",
                )
            }
            _ => {}
        }
    }

    pub(super) fn eval(&mut self, recipe: &Recipe, eval: &Eval) {
        self.data("eval.prompts", &eval.prompts);
        let trains = [
            recipe.sft.is_some(),
            recipe.dpo.is_some(),
            recipe.online.is_some(),
        ];
        if !trains.contains(&true) {
            self.complain(
                "eval",
                "`[eval]` compares a trained policy with its start, and no table trains one",
                "add `[sft]`, `[dpo]` or `[online]`; judges are measured by their own `eval` tables",
            );
        }
        self.judges(
            "eval",
            eval.rule.as_ref(),
            eval.command.as_ref(),
            eval.remote.as_ref(),
        );
        self.sampling("eval", &eval.generate, eval.max_length);
        let trained =
            trains_reward(recipe) || recipe.pairwise.is_some() || recipe.verifier.is_some();
        let looped = recipe.online.as_ref();
        let looped = looped.is_some_and(|online| online.judge.names_a_model());
        if !trained && !looped && !eval.names_a_judge() {
            self.complain(
                "eval",
                "`[eval]` has no judge: the run trains no reward model",
                "add `[eval.reward]` with a `model_name_or_path`, or a `[reward]` table",
            );
        }
        let reward = eval.reward.as_ref();
        let unnamed = [
            (
                "reward",
                "reward models",
                reward.is_some_and(|table| table.model_name_or_path.is_none()),
            ),
            (
                "pairwise",
                "pairwise model",
                eval.pairwise.is_some() && !names_pairwise(eval.pairwise.as_ref()),
            ),
            (
                "verifier",
                "verifier",
                eval.verifier.is_some() && !names_verifier(eval.verifier.as_ref()),
            ),
        ];
        for (table, own, _) in unnamed.into_iter().filter(|(.., unnamed)| *unnamed) {
            let verb = if table == "reward" { "judge" } else { "judges" };
            self.complain(
                &format!("eval.{table}"),
                format!("`[eval.{table}]` names no model"),
                format!("set its `model_name_or_path`; the {own} of this run {verb} without it"),
            );
        }
    }
}

/// Whether the run trains a model that compares two responses.
fn compares(recipe: &Recipe) -> bool {
    recipe.pairwise.is_some() || recipe.grows_tree()
}

fn names_pairwise(judge: Option<&PairwiseJudge>) -> bool {
    judge.is_some_and(|judge| judge.model_name_or_path.is_some())
}

fn names_verifier(judge: Option<&VerifierJudge>) -> bool {
    judge.is_some_and(|judge| judge.model_name_or_path.is_some())
}

fn trains_reward(recipe: &Recipe) -> bool {
    recipe.reward.is_some() || recipe.multi_objective.is_some()
}
