//! What wins, and where paths start.

use super::*;

#[test]
fn later_layers_win_and_tables_merge() {
    let folder = Folder::new(&[
        (
            "one.toml",
            &format!("seed = 1\n{DPO}[dpo.loss]\nbeta = 0.5\nlabel_smoothing = 0.1\n"),
        ),
        ("two.toml", "seed = 2\n[dpo.loss]\nbeta = 0.3\n"),
        (
            "recipe.toml",
            "extends = [\"one.toml\", \"two.toml\"]\nseed = 3\n",
        ),
    ]);
    let loaded = folder
        .load(&["dpo.loss.rpo_alpha=1"])
        .expect("a right recipe");
    let loss = loaded.recipe.dpo.expect("its stage").loss;
    assert_eq!(loaded.recipe.seed, 3);
    assert_eq!(
        (loss.beta, loss.label_smoothing, loss.rpo_alpha),
        (0.3, 0.1, Some(1.0))
    );
}

#[test]
fn every_value_knows_where_it_came_from() {
    let folder = Folder::new(&[
        ("base.toml", DPO),
        (
            "recipe.toml",
            "extends = [\"base.toml\"]\n\n[dpo]\nmax_length = 99\n",
        ),
    ]);
    let loaded = folder.load(&["seed=7"]).expect("a right recipe");
    let origin = |key: &str| {
        let text = loaded.origins[key].to_string();
        text.replace(&folder.prefix(), "")
    };
    assert_eq!(origin("seed"), "--set");
    assert_eq!(origin("name"), "base.toml:1");
    assert_eq!(origin("dpo.max_length"), "recipe.toml:4");
    assert_eq!(origin("dpo.train.learning_rate"), "default");
    assert!(
        loaded
            .show()
            .lines()
            .any(|line| line.starts_with("seed = 7") && line.ends_with("# --set"))
    );
}

#[test]
fn a_shipped_recipe_is_extended_by_its_name_unless_a_file_has_it() {
    for name in [
        "quickstart/quickstart",
        "quickstart",
        "recipes/quickstart/quickstart.toml",
    ] {
        let text = format!("extends = [\"{name}\"]\nname = \"mine\"\n");
        let loaded = Folder::new(&[("recipe.toml", &text)]).load(&[]);
        let recipe = loaded.expect("a right recipe").recipe;
        assert_eq!(recipe.name, "mine");
        assert!(recipe.online.is_some(), "{name}");
    }
    let folder = Folder::new(&[
        ("quickstart", DPO),
        ("recipe.toml", "extends = [\"quickstart\"]\n"),
    ]);
    assert!(
        folder
            .load(&[])
            .expect("a right recipe")
            .recipe
            .online
            .is_none()
    );
}

#[test]
fn a_later_choice_replaces_an_earlier_one() {
    let folder = Folder::new(&[
        ("base.toml", ONLINE),
        (
            "recipe.toml",
            "extends = [\"base.toml\"]\n[online.judge.rule]\nformula = \"sentence\"\n",
        ),
    ]);
    let judge = folder
        .load(&[])
        .expect("a right recipe")
        .recipe
        .online
        .expect("its stage")
        .judge;
    assert!(judge.reward.is_none());
    assert_eq!(judge.rule.expect("the later choice").formula, "sentence");
}

#[test]
fn false_leaves_a_table_out_and_a_later_table_brings_it_back() {
    let more = format!("{ONLINE}[dpo.data]\nfiles = \"pairs.jsonl\"\n[online.lora]\nr = 4\n");
    let folder = recipe(&more);
    let recipe = folder
        .load(&["online=false"])
        .expect("a right recipe")
        .recipe;
    assert!(recipe.online.is_none() && recipe.dpo.is_some());
    let recipe = folder
        .load(&["online.lora=false", "eval=false"])
        .expect("a right recipe")
        .recipe;
    assert!(recipe.online.expect("its stage").lora.is_none());
    let recipe = folder
        .load(&["online.lora=false", "online.lora.r=8"])
        .expect("a right recipe")
        .recipe;
    assert_eq!(
        recipe
            .online
            .expect("its stage")
            .lora
            .expect("brought back")
            .r,
        8
    );
}

#[test]
fn flags_take_toml_values_bare_words_and_single_entries_of_lists() {
    let flags = [
        "model.model_name_or_path=HuggingFaceTB/SmolLM2-135M-Instruct",
        "dpo.loss.loss_type=hinge",
        "dpo.data.filter={ subset = \"helpful\", files = \"no path\" }",
        "dpo.train.learning_rate=1e-6",
        "dpo.lora.target_modules=[\"q_proj\"]",
        "description=2024-01-01",
    ];
    let recipe = dpo("").load(&flags).expect("right flags").recipe;
    let dpo = recipe.dpo.expect("its stage");
    assert_eq!(
        recipe.model.model_name_or_path.as_deref(),
        Some("HuggingFaceTB/SmolLM2-135M-Instruct")
    );
    assert_eq!(dpo.loss.loss_type, [LossType::Hinge]);
    assert_eq!(dpo.data.filter["subset"], "helpful");
    assert_eq!(dpo.data.filter["files"], "no path");
    assert_eq!(dpo.train.learning_rate, 1e-6);
    assert_eq!(dpo.lora.expect("switched on").target_modules, ["q_proj"]);
    assert_eq!(recipe.description, "2024-01-01");
}

#[test]
fn data_paths_start_at_the_layer_that_names_them() {
    let folder = Folder::new(&[("recipe.toml", DPO)]);
    std::fs::create_dir(folder.path("deep")).expect("a folder");
    std::fs::write(
        folder.path("deep/recipe.toml"),
        "extends = [\"../recipe.toml\"]\n[dpo.eval]\nfiles = [\"../held.jsonl\", \"quickstart:pairs\"]\n",
    )
    .expect("a file");
    let dpo = Recipe::load(&folder.path("deep/recipe.toml"), &[])
        .expect("a right recipe")
        .recipe
        .dpo
        .expect("its stage");
    assert_eq!(
        dpo.data.files,
        [folder.path("pairs.jsonl").display().to_string()]
    );
    let held = folder.path("held.jsonl").display().to_string();
    assert_eq!(
        dpo.eval.expect("its table").files,
        [held, "quickstart:pairs".to_owned()]
    );
    let here = std::env::current_dir()
        .expect("a folder")
        .join("mine.jsonl");
    let dpo = folder
        .load(&["dpo.data.files=mine.jsonl"])
        .expect("right")
        .recipe
        .dpo
        .expect("its stage");
    assert_eq!(dpo.data.files, [here.display().to_string()]);
}

#[test]
fn stages_have_defaults_of_their_own() {
    let text = "name = \"x\"\nmodel.model_name_or_path = \"quickstart\"\n\
                [sft.data]\nfiles = \"a\"\n[dpo.data]\nfiles = \"b\"\n[sft.train]\nmax_steps = 3\n";
    let recipe = recipe(text).load(&[]).expect("a right recipe").recipe;
    let (sft, dpo) = (
        recipe.sft.expect("a stage").train,
        recipe.dpo.expect("a stage").train,
    );
    assert_eq!(
        (sft.learning_rate, sft.rows_per_step(), sft.max_steps),
        (2e-5, 32, Some(3))
    );
    assert_eq!(
        (dpo.learning_rate, dpo.rows_per_step(), dpo.max_steps),
        (5e-7, 128, None)
    );
}

#[test]
fn a_recipe_can_be_made_of_flags_alone() {
    let flags = [
        "name=x",
        "model.model_name_or_path=quickstart",
        "dpo.data.files=a.jsonl",
    ]
    .map(str::to_owned);
    assert!(
        Recipe::from_overrides(&flags)
            .expect("a right recipe")
            .recipe
            .dpo
            .is_some()
    );
}
