//! The rounds of `duel online` say what is odd about them, whatever becomes of them, and how far they have come.
#![allow(clippy::unwrap_used)]

use super::{duel, folder};
use serde_json::Value;
use std::fs;

const RECIPE: &str = r#"
name = "rounds"
[model]
model_name_or_path = "quickstart"
[online]
rounds = 2
prompts_per_round = 6
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 4
generate.max_new_tokens = 16
judge.rule.formula = "0.6*feelings + 0.2*sentence + 0.2*no_repeats"
train.learning_rate = 1e-4
train.gradient_accumulation_steps = 1
"#;

#[test]
fn equal_rewards_are_diagnosed_though_the_round_ends_without_a_pair() {
    let folder = folder(&[("recipe.toml", RECIPE)]);
    let constant = "online.judge.rule.formula=\"contains:zzzz\"";
    let said = duel(&folder, &["run", "recipe.toml", "--set", constant]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("round 1 gave no pair"), "{}", said.err);
    assert!(said.err.contains("rewards-all-equal"), "{}", said.err);
    for file in ["metrics.jsonl", "report.html"] {
        let text = fs::read_to_string(folder.path().join("runs/rounds").join(file)).unwrap();
        assert!(text.contains("rewards-all-equal"), "{file}");
    }
}

#[test]
fn a_run_without_evaluation_still_knows_how_far_each_round_has_come() {
    let folder = folder(&[("recipe.toml", RECIPE)]);
    let said = duel(&folder, &["run", "recipe.toml", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    let kl = |round: usize| last["rounds"][round]["kl_samples"].as_f64().unwrap();
    assert_eq!(kl(0), 0.0, "the start drew the first round's samples");
    assert!(kl(1).abs() > 0.0, "a trained policy drew the second's");
    assert!(last["rounds"][1]["kl"].is_null(), "nothing evaluated it");
}
