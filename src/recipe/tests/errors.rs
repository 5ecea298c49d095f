//! What is wrong is pointed at, and the whole message is the assertion.

use super::*;
use insta::assert_snapshot;

#[test]
fn an_unknown_key_has_a_caret_and_the_likely_key() {
    assert_snapshot!(dpo("[dpo.train]\nadam_beta_1 = 0.9\n").error(&[]), @r#"
    recipe.toml:9: `[dpo.train]` has no key `adam_beta_1`
      |
    9 | adam_beta_1 = 0.9
      | ^^^^^^^^^^^

    hint: did you mean `adam_beta1`?
    "#);
}

#[test]
fn an_unknown_key_is_shown_in_the_file_that_has_it() {
    let folder = Folder::new(&[
        ("base.toml", "name = \"base\"\n\n[dpo]\nmax_lenght = 12\n"),
        ("recipe.toml", &format!("extends = [\"base.toml\"]\n{DPO}")),
    ]);
    assert_snapshot!(folder.error(&[]), @r#"
    base.toml:4: `[dpo]` has no key `max_lenght`
      |
    4 | max_lenght = 12
      | ^^^^^^^^^^

    hint: did you mean `max_length`?
    "#);
}

#[test]
fn another_tools_key_names_ours() {
    assert_snapshot!(online("[online.generate]\nk = 8\nmax_completion_length = 3\n").error(&[]), @r#"
    recipe.toml:12: `[online.generate]` has no key `k`
       |
    12 | k = 8
       | ^

    hint: did you mean `num_generations`?

    recipe.toml:13: `[online.generate]` has no key `max_completion_length`
       |
    13 | max_completion_length = 3
       | ^^^^^^^^^^^^^^^^^^^^^

    hint: did you mean `max_new_tokens`?
    "#);
    assert_snapshot!(online("[online]\nlr = 1e-6\n").error(&[]), @r#"
    recipe.toml:12: `[online]` has no key `lr`
       |
    12 | lr = 1e-6
       | ^^

    hint: did you mean `online.train.learning_rate`?
    "#);
    assert_snapshot!(recipe(&format!("lora_r = 8\n{DPO}")).error(&[]), @r#"
    recipe.toml:1: a recipe has no key `lora_r`
      |
    1 | lora_r = 8
      | ^^^^^^

    hint: did you mean `dpo.lora.r`?
    "#);
}

#[test]
fn a_key_in_the_wrong_table_names_the_right_one() {
    assert_snapshot!(online("[online]\nlearning_rate = 1e-6\n").error(&[]), @r#"
    recipe.toml:12: `[online]` has no key `learning_rate`
       |
    12 | learning_rate = 1e-6
       | ^^^^^^^^^^^^^

    hint: did you mean `online.train.learning_rate`?
    "#);
}

#[test]
fn a_key_like_no_other_lists_the_keys() {
    assert_snapshot!(dpo("[device]\nzzz = 1\n").error(&[]), @r#"
    recipe.toml:9: `[device]` has no key `zzz`
      |
    9 | zzz = 1
      | ^^^

    hint: its keys are backend, index, memory_gib
    "#);
}

#[test]
fn a_wrong_type_has_a_caret_and_says_what_the_key_is_for() {
    assert_snapshot!(dpo("[dpo.train]\nlearning_rate = \"fast\"\n").error(&[]), @r#"
    recipe.toml:9: `dpo.train.learning_rate` is a number, not string "fast"
      |
    9 | learning_rate = "fast"
      |                 ^^^^^^

    hint: `learning_rate`: The peak learning rate.
    "#);
    assert_snapshot!(dpo("[dpo.train]\nmax_steps = -1\n").error(&[]), @r#"
    recipe.toml:9: `dpo.train.max_steps` is a whole number from 0, not integer `-1`
      |
    9 | max_steps = -1
      |             ^^

    hint: `max_steps`: Stop after this many optimiser steps, whatever the epochs say.
    "#);
    assert_snapshot!(dpo("[dpo]\ntrain = 3\n").error(&[]), @r#"
    recipe.toml:9: `dpo.train` is a table, not integer `3`
      |
    9 | train = 3
      |         ^

    hint: `train`: The optimiser.
    "#);
    assert_snapshot!(dpo("[dpo.lora]\ntarget_modules = [\"q_proj\", 7]\n").error(&[]), @r#"
    recipe.toml:9: an entry of `dpo.lora.target_modules` is a string, not integer `7`
      |
    9 | target_modules = ["q_proj", 7]
      |                             ^

    hint: `target_modules`: Linear layers that get an adapter.
    "#);
}

#[test]
fn an_unknown_choice_names_the_likely_one() {
    assert_snapshot!(dpo("[dpo.loss]\nloss_type = [\"sigmoid\", \"hing\"]\n").error(&[]), @r#"
    recipe.toml:9: `dpo.loss.loss_type` has no choice `hing`
      |
    9 | loss_type = ["sigmoid", "hing"]
      |                         ^^^^^^

    hint: did you mean `hinge`?
    "#);
    assert_snapshot!(dpo("[device]\nbackend = \"tpu\"\n").error(&[]), @r#"
    recipe.toml:9: `device.backend` has no choice `tpu`
      |
    9 | backend = "tpu"
      |           ^^^^^

    hint: choose one of auto, cpu, cuda, rocm, vulkan, metal, dx12, webgpu
    "#);
}

#[test]
fn a_value_out_of_range_names_the_range() {
    assert_snapshot!(dpo("[dpo.loss]\nbeta = 0\nlabel_smoothing = 0.6\n").error(&[]), @r#"
    recipe.toml:9: `dpo.loss.beta` is 0, but must be above 0
      |
    9 | beta = 0
      |        ^

    hint: `beta`: Strength of the pull to the reference.

    recipe.toml:10: `dpo.loss.label_smoothing` is 0.6, but must be at least 0 and at most 0.5
       |
    10 | label_smoothing = 0.6
       |                   ^^^

    hint: `label_smoothing`: Share of pairs believed to be labelled wrongly.
    "#);
    assert!(dpo("[dpo.loss]\nbeta = nan\n").error(&[]).contains("beta"));
    assert!(
        dpo("[dpo.train]\nmax_grad_norm = inf\n")
            .error(&[])
            .contains("max_grad_norm")
    );
}

#[test]
fn an_error_in_a_flag_points_at_the_flag() {
    assert_snapshot!(dpo("").error(&["dpo.loss.bet=0.1"]), @r#"
    --set: `[dpo.loss]` has no key `bet`
     |
     | --set dpo.loss.bet=0.1
     |                ^^^

    hint: did you mean `beta`?
    "#);
    assert_snapshot!(dpo("").error(&["dpo.loss.beta=-1"]), @r#"
    --set: `dpo.loss.beta` is -1, but must be above 0
     |
     | --set dpo.loss.beta=-1
     |                     ^^

    hint: `beta`: Strength of the pull to the reference.
    "#);
    assert_snapshot!(dpo("").error(&["dpo.loss.beta"]), @r#"
    --set: a value is missing
     |
     | --set dpo.loss.beta
     |       ^^^^^^^^^^^^^

    hint: write `--set table.key=value`
    "#);
    assert_snapshot!(dpo("").error(&["dpo loss=1"]), @r#"
    --set: `dpo loss` is not the name of a key
     |
     | --set dpo loss=1
     |       ^^^^^^^^
    "#);
    assert_snapshot!(dpo("").error(&["dpo.loss.beta=much"]), @r#"
    --set: `dpo.loss.beta` is a number, not string "much"
     |
     | --set dpo.loss.beta=much
     |                     ^^^^

    hint: `beta`: Strength of the pull to the reference.
    "#);
}

#[test]
fn a_missing_key_names_its_table() {
    assert_snapshot!(recipe("[dpo.data]\nmax_rows = 3\n[model]\n").error(&["name=x"]), @r#"
    recipe.toml:1: `[dpo.data]` lacks its key `files`
      |
    1 | [dpo.data]
      |      ^^^^

    hint: `files`: Files of jsonl or parquet, one or a list, relative to the file that names them (in `--set`: to the current folder). A `*` in a file's name takes all that match: `data/train-*.parquet`. `owner/name` is a data set of the hub, `owner/name@revision` a revision of it, `hf://datasets/owner/name/folder` a part; the run downloads it. `quickstart:NAME` is a sample inside the binary.
    "#);
    assert_snapshot!(recipe("[model]\n").error(&[]), @r#"
    recipe.toml: the recipe lacks its key `name`

    hint: `name`: Name of the run: its folder is `<output_dir>/<name>`. Recipes of one name share that folder, and with it the stages that are already done.
    "#);
}

#[test]
fn broken_toml_has_a_caret() {
    assert_snapshot!(recipe("name = \"x\nseed = 1\n").error(&[]), @r#"
    recipe.toml:1: this is not TOML: invalid basic string, expected `"`
      |
    1 | name = "x
      |          ^
    "#);
    assert_snapshot!(recipe("seed = 1\nseed = 2\n").error(&[]), @r#"
    recipe.toml:2: this is not TOML: duplicate key
      |
    2 | seed = 2
      | ^^^^
    "#);
}

#[test]
fn a_file_that_extends_itself_is_refused() {
    let folder = Folder::new(&[
        ("recipe.toml", "extends = [\"base.toml\"]\n"),
        ("base.toml", "extends = [\"./recipe.toml\"]\n"),
    ]);
    assert_snapshot!(folder.error(&[]), @r#"
    base.toml:1: recipe.toml extends itself
      |
    1 | extends = ["./recipe.toml"]
      |            ^^^^^^^^^^^^^^^

    hint: take one of the `extends` away
    "#);
}

#[test]
fn a_base_that_is_not_there_is_shown_where_it_is_named() {
    assert_snapshot!(recipe("extends = [\"nowhere.toml\"]\n").error(&[]), @r#"
    recipe.toml:1: there is no file nowhere.toml
      |
    1 | extends = ["nowhere.toml"]
      |            ^^^^^^^^^^^^^^

    hint: paths in `extends` are relative to this file; a recipe that comes with duel goes by its name (`duel recipe list`)
    "#);
    assert_snapshot!(recipe("extends = \"base.toml\"\n").error(&[]), @r#"
    recipe.toml:1: `extends` is a list of files
      |
    1 | extends = "base.toml"
      |           ^^^^^^^^^^^

    hint: write `extends = ["base.toml"]`
    "#);
}

#[test]
fn one_response_makes_no_pair() {
    assert_snapshot!(online("[online.generate]\nnum_generations = 1\n").error(&[]), @r#"
    recipe.toml:12: with `num_generations = 1` there is nothing to compare: a pair needs two responses to one prompt
       |
    12 | num_generations = 1
       |                   ^

    hint: use 4 (the paper uses 8); for pairs that exist already, use `[dpo]`
    "#);
}

#[test]
fn tables_that_contradict_each_other_are_refused_all_at_once() {
    let text = "[online.generate]\ntemperature = 0\nmax_new_tokens = 1024\n[online.judge.rule]\nformula = \"sentence\"\n\
                [online.loss]\nloss_type = \"robust\"\nlabel_smoothing = 0.5\nloss_weights = [1, 2]\n";
    assert_snapshot!(online(text).error(&[]), @r#"
    recipe.toml:9: two judges: `[online.judge.reward]` and `[online.judge.rule]`
      |
    9 | [online.judge.reward]
      |         ^^^^^

    hint: keep the one that ranks the responses; `[eval]` may have several

    recipe.toml:12: at temperature 0 every response to a prompt is the same, and pairs of equals are dropped
       |
    12 | temperature = 0
       |               ^

    hint: use 1.0, or a mix such as [1.0, 0.7]

    recipe.toml:13: responses of 1024 tokens leave no room for a prompt in `online.max_length` 1024
       |
    13 | max_new_tokens = 1024
       |                  ^^^^

    hint: lower it, or raise `online.max_length`

    recipe.toml:18: `robust` divides by 1 - 2 label_smoothing, which is 0 at 0.5
       |
    18 | label_smoothing = 0.5
       |                   ^^^

    hint: a share of wrong labels below 0.5 can be corrected

    recipe.toml:19: `loss_weights` has 2 entries and `loss_type` has 1
       |
    19 | loss_weights = [1, 2]
       |                ^^^^^^

    hint: give each loss of `loss_type` one weight, or none of them
    "#);
}

#[test]
fn nobody_to_judge_is_refused() {
    assert_snapshot!(online("").error(&["online.judge.reward=false"]), @r#"
    --set: nobody ranks the responses: there is no reward model
     |
     | --set online.judge.reward=false
     |              ^^^^^

    hint: add a `[reward]` table, or name one with `online.judge.reward.model_name_or_path`
    "#);
}

#[test]
fn a_revision_belongs_to_a_model() {
    let named = dpo("[dpo]\nref_model = \"me/rm\"\nref_model_revision = \"v2\"\n");
    let recipe = named.load(&[]).expect("a recipe").recipe;
    let revision = recipe.dpo.and_then(|dpo| dpo.ref_model_revision);
    assert_eq!(revision.as_deref(), Some("v2"));
    let judge = online("revision = \"v3\"\n").load(&[]).expect("a recipe");
    let judge = judge.recipe.online.and_then(|online| online.judge.reward);
    let revision = judge.and_then(|judge| judge.revision);
    assert_eq!(revision.as_deref(), Some("v3"));
    assert_snapshot!(dpo("[dpo]\nref_model_revision = \"v2\"\n").error(&[]), @r#"
    recipe.toml:9: a revision, but no model that it is of
      |
    9 | ref_model_revision = "v2"
      |                      ^^^^

    hint: name the model with `dpo.ref_model`, or leave the revision out
    "#);
}

#[test]
fn a_name_that_is_no_recipe_names_the_likely_one() {
    let error = Recipe::open("smolm2-hh/onlin", &[]).expect_err("no such recipe");
    assert_snapshot!(error.to_string(), @r#"
    `smolm2-hh/onlin` is neither a file nor a recipe that comes with duel

    hint: did you mean `smollm2-hh/online`? `duel recipe list` shows them all
    "#);
}

#[test]
fn missing_data_are_found_before_anything_runs() {
    let folder = dpo("");
    let loaded = folder.load(&[]).expect("the recipe itself is right");
    let error = loaded
        .check_files()
        .expect_err("there is no such file")
        .to_string();
    let error = error.replace(&folder.prefix(), "");
    assert_snapshot!(error, @r#"
    recipe.toml:7: there is no file pairs.jsonl
      |
    7 | files = "pairs.jsonl"
      |         ^^^^^^^^^^^^^

    hint: put the file there, or name yours: `--set dpo.data.files=PATH`
    "#);
    std::fs::write(folder.path("pairs.jsonl"), "").expect("a file");
    assert!(loaded.check_files().is_ok());
}

#[test]
fn text_that_is_not_utf8_is_named_by_its_line() {
    let folder = Folder::new(&[]);
    std::fs::write(folder.path("recipe.toml"), b"name = \"a\"\n# \xff\n").expect("a file");
    assert!(
        folder
            .error(&[])
            .contains("recipe.toml:2: this is not UTF-8")
    );
}

#[test]
fn an_unknown_key_does_not_hide_the_other_mistakes() {
    let text = "[dpo]\nlerning_rate = 1e-6\n[dpo.train]\nwarmup_ratio = 7\n";
    assert_snapshot!(dpo(text).error(&[]), @r#"
    recipe.toml:9: `[dpo]` has no key `lerning_rate`
      |
    9 | lerning_rate = 1e-6
      | ^^^^^^^^^^^^

    hint: did you mean `dpo.train.learning_rate`?

    recipe.toml:11: `dpo.train.warmup_ratio` is 7, but must be at least 0 and at most 1
       |
    11 | warmup_ratio = 7
       |                ^

    hint: `warmup_ratio`: Share of the steps in which the learning rate rises from 0.
    "#);
}

#[test]
fn an_evaluation_of_nothing_is_no_recipe() {
    let text = "name = \"x\"\n[model]\nmodel_name_or_path = \"m\"\n[eval]\nprompts.files = \"quickstart:eval\"\nrule.formula = \"sentence\"\n";
    let error = recipe(text).error(&[]);
    assert!(
        error
            .contains("`[eval]` compares a trained policy with its start, and no table trains one"),
        "{error}"
    );
}

/// Nobody trains bf16 without masters by a mistaken key: what there is instead is said.
#[test]
fn bf16_of_other_trainers_is_answered_with_what_stays_in_f32() {
    for key in ["bf16", "fp16", "pure_bf16"] {
        let error = dpo(&format!("[dpo.train]\n{key} = true\n")).error(&[]);
        assert!(
            error.contains("the weights that are trained stay in f32"),
            "{error}"
        );
    }
}
