//! A multi-objective reward model: fitted, killed, measured, explained, and a judge of rounds.
#![allow(clippy::unwrap_used)]

use super::killed::{outputs, wait_for};
use super::{command, duel, folder};
use duel::model::files::Safetensors;
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use tempfile::TempDir;

/// Small sizes for everything.
const RECIPE: &str = r#"
name = "objectives"
[model]
model_name_or_path = "quickstart"
[multi_objective]
data = { files = "pairs.jsonl", held_out = 0.4 }
ratings = { files = "ratings.jsonl" }
debias = "words"
max_length = 64
tree = {}
gate = { hidden_size = 8, n_hidden = 1, steps = 60, batch_size = 16, learning_rate = 1e-2 }
"#;

/// A round that the model of the recipe judges.
const LOOP: &str = r#"
[online]
rounds = 1
prompts_per_round = 3
max_length = 64
prompts.files = "quickstart:prompts"
generate.num_generations = 3
generate.max_new_tokens = 12
train.learning_rate = 1e-4
train.gradient_accumulation_steps = 1
"#;

const WORDS: [&str; 12] = [
    "the", "happy", "dog", "ran", "home", "and", "slept", "under", "a", "tree", "all", "day",
];

/// A response that differs with `i`.
fn words(i: usize) -> String {
    let count = 2 + i % 9;
    let word = |k: usize| WORDS[(i * 5 + k * 7 + i * k) % WORDS.len()];
    let mut text = (0..count).map(word).collect::<Vec<_>>().join(" ");
    if i.is_multiple_of(2) {
        text.push('.');
    }
    text
}

fn prompt(i: usize) -> Value {
    json!([{"role": "user", "content": format!("Tell me about the {} number {i}.", WORDS[i % 12])}])
}

/// Ratings of two attributes that are never both missing, and three pairs for each prompt.
fn data(rated: usize, prompts: usize) -> TempDir {
    let mut ratings = String::new();
    for i in 0..rated {
        let response = words(i);
        let end = (i % 3 != 0).then(|| f64::from(u8::from(response.ends_with('.'))));
        let count = response.split(' ').count() as f64 / 10.0;
        let row =
            json!({"prompt": prompt(i % 50), "response": response, "ends": end, "words": count});
        ratings += &format!("{row}\n");
    }
    let mut pairs = String::new();
    for i in 0..prompts * 3 {
        let (a, b) = (words(2 * i), words(2 * i + 1));
        pairs += &format!(
            "{}\n",
            json!({"prompt": prompt(i / 3), "chosen": a, "rejected": b})
        );
    }
    folder(&[
        ("recipe.toml", RECIPE),
        ("ratings.jsonl", &ratings),
        ("pairs.jsonl", &pairs),
    ])
}

fn read(folder: &TempDir, path: &str) -> Value {
    let path = folder.path().join("runs/objectives").join(path);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn d3_d4_a_recipe_fits_one_measures_it_explains_it_and_lets_it_judge() {
    let folder = data(120, 30);
    let recipe = format!("{RECIPE}{LOOP}");
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let said = duel(&folder, &["run", "recipe.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);

    let probes = read(&folder, "multi-objective-probe.json");
    assert_eq!(probes[0]["attribute"], "ends");
    assert_eq!(probes[1]["attribute"], "words");
    assert!(
        probes[0]["rows"].as_u64() < probes[1]["rows"].as_u64(),
        "{probes}"
    );
    let report = read(&folder, "multi-objective-eval.json");
    let held_out = report["judge"]["pairs"].as_u64().unwrap();
    assert!(held_out > 0, "{report}");
    for part in ["mean_of_rewards", "mean_of_debiased"] {
        assert_eq!(report["objectives"][part]["pairs"], held_out, "{report}");
    }

    // The matrix is in the file, takes out what the probes' report says, and is in the score.
    let model = "runs/objectives/multi-objective/checkpoint";
    let file = Safetensors::open(&folder.path().join(model)).unwrap();
    let matrix = file.read("reward_transform_matrix", &[2, 2]).unwrap();
    let penalty = probes[0]["penalty"].as_f64().unwrap() as f32;
    assert_eq!(matrix, [1.0, 0.0, -penalty, 0.0]);
    let scale = file.read("gating.logit_scale", &[1]).unwrap()[0];
    let words = ["judge", "--model", model, "--data", "pairs.jsonl"];
    let plain = duel(&folder, &words).json();
    let explained = duel(&folder, &[&words[..], &["--explain", "--json"]].concat()).json();
    assert_eq!((plain.len(), explained.len()), (90, 90));
    for (plain, explained) in plain.iter().zip(&explained) {
        for at in 0..2 {
            let response = &explained["explained"][at];
            let objectives = response["objectives"].as_array().unwrap();
            let sum = |f: &dyn Fn(&Value) -> f64| objectives.iter().map(f).sum::<f64>();
            let of = |o: &Value, key: &str| o[key].as_f64().unwrap();
            let score = of(response, "score");
            let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-4;
            assert!(
                near(plain["rewards"][at].as_f64().unwrap(), score),
                "{plain} {explained}"
            );
            assert!(near(sum(&|o| of(o, "gate") * of(o, "debiased")), score));
            assert!(near(
                sum(&|o| of(o, "coefficient") * of(o, "reward")),
                score
            ));
            assert!(near(sum(&|o| of(o, "gate")), f64::from(scale)));
            assert_eq!(objectives[1]["debiased"], 0.0);
        }
    }
    let table = duel(&folder, &[&words[..], &["--explain"]].concat()).out;
    for part in [
        "attribute",
        "debiased",
        "gate",
        "coefficient",
        "ends",
        "response 2",
    ] {
        assert!(table.contains(part), "{table}");
    }
    // As anywhere else it is a reward model.
    let words = ["eval", "--model", model, "--data", "pairs.jsonl", "--json"];
    assert_eq!(duel(&folder, &words).json()[0]["judge"]["pairs"], 90);
    let scores = folder.path().join("runs/objectives/round-1/scores.jsonl");
    assert_eq!(fs::read_to_string(scores).unwrap().lines().count(), 3);
    let refused = duel(&folder, &["chat", "--model", model]);
    assert!(
        refused.err.contains("it scores, it does not write"),
        "{}",
        refused.err
    );
    let refused = duel(
        &folder,
        &[
            "judge",
            "--model",
            "quickstart",
            "--data",
            "pairs.jsonl",
            "--explain",
        ],
    );
    assert_eq!(refused.code, 2, "{}", refused.err);
}

/// The tree as a file, as text and as a judge of rounds, of rows and of pairs.
#[test]
fn a_decision_tree_compares_wherever_a_pairwise_model_does() {
    let folder = data(120, 30);
    let judge = "[online.judge.pairwise]\nrounds = \"knock_out\"\n";
    fs::write(
        folder.path().join("recipe.toml"),
        format!("{RECIPE}{LOOP}{judge}"),
    )
    .unwrap();
    let said = duel(&folder, &["run", "recipe.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("a tree over both orders of"),
        "{}",
        said.err
    );
    let report = read(&folder, "multi-objective-eval.json");
    assert_eq!(
        report["objectives"]["tree"]["pairs"],
        report["judge"]["pairs"]
    );
    let page = folder.path().join("runs/objectives/report.html");
    let page = fs::read_to_string(page).unwrap();
    for shown in ["<h2>Attributes", "the tree", "first less second, &gt;"] {
        assert!(page.contains(shown), "not on the page: {shown}");
    }
    let scores = folder.path().join("runs/objectives/round-1/scores.jsonl");
    for line in fs::read_to_string(scores).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        // Three responses, two matches: nobody wins more than two.
        let rewards = row["rewards"].as_array().unwrap();
        let of = |r: &Value| r.as_f64().unwrap();
        assert_eq!(rewards.len(), 3, "{row}");
        assert!(
            rewards.iter().all(|r| (0.0..=2.0).contains(&of(r))),
            "{row}"
        );
    }

    let model = "runs/objectives/multi-objective/checkpoint";
    let tree = read(&folder, "multi-objective/checkpoint/decision_tree.json");
    assert_eq!(tree["attributes"], json!(["ends", "words"]));
    let data = ["--data", "pairs.jsonl"];
    let judged = duel(
        &folder,
        &[&["judge", "--pairwise", model][..], &data].concat(),
    )
    .json();
    let explained = ["judge", "--model", model, "--explain"];
    let each = duel(&folder, &[&explained[..], &data, &["--json"]].concat()).json();
    assert_eq!((judged.len(), each.len()), (90, 90));
    for (judged, explained) in judged.iter().zip(&each) {
        let [first, second] = [0, 1].map(|at| judged["rewards"][at].as_f64().unwrap());
        assert_eq!(first + second, 1.0, "{judged}");
        assert_eq!(explained["first_is_better"].as_f64().unwrap(), first);
        // The tree as the file has it, asked in both orders.
        let reward = |at: usize, i: usize| {
            let objectives = &explained["explained"][at]["objectives"];
            objectives[i]["reward"].as_f64().unwrap() as f32
        };
        let lead = |i: usize| f64::from(reward(0, i) - reward(1, i));
        let given = walk(&tree["root"], &lead);
        let turned = walk(&tree["root"], &|i| -lead(i));
        assert!((first - (given + 1.0 - turned) / 2.0).abs() < 1e-6);
    }
    let ties = [
        "online.judge.pairwise={model_name_or_path=\"runs/objectives/multi-objective/checkpoint\", max_length=6}",
        "multi_objective=false",
        "name=short",
    ];
    let set = ties.iter().flat_map(|key| ["--set", key]);
    let run: Vec<&str> = ["run", "recipe.toml"].into_iter().chain(set).collect();
    let tied = duel(&folder, &run);
    let fact = "comparisons count as ties: a response does not fit into 6 tokens";
    assert!(tied.err.contains(fact), "{}", tied.err);
    let table = duel(&folder, &[&explained[..], &data].concat()).out;
    assert!(
        table.contains("first less second, >") && table.contains("by the tree"),
        "{table}"
    );
    let found = duel(
        &folder,
        &[&["eval", "--pairwise", model, "--json"][..], &data].concat(),
    )
    .json();
    let right: f64 = judged
        .iter()
        .map(|row| match row["rewards"][0].as_f64().unwrap() {
            first if first > 0.5 => 1.0,
            first if first < 0.5 => 0.0,
            _ => 0.5,
        })
        .sum();
    let accuracy = found[0]["judge"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - right / 90.0).abs() < 1e-9, "{accuracy} {right}");
}

/// Where a tree's file leads for the differences that `lead` gives.
fn walk(node: &Value, lead: &dyn Fn(usize) -> f64) -> f64 {
    if let Some(first) = node["first"].as_f64() {
        return first;
    }
    let attribute = node["attribute"].as_u64().unwrap() as usize;
    let more = lead(attribute) > node["threshold"].as_f64().unwrap();
    walk(&node[if more { "more" } else { "at_most" }], lead)
}

/// D5: shards have names of their own, each row is in one of them, and no prompt is on both sides.
#[test]
fn d5_a_run_that_is_killed_while_embedding_goes_on_with_the_shards_that_are_there() {
    let words = ["multi-objective", "recipe.toml", "--quiet"];
    let whole = data(2600, 10);
    let said = duel(&whole, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    let root = |folder: &TempDir| folder.path().join("runs/objectives");
    let wanted = outputs(&root(&whole));

    let killed = data(2600, 10);
    let first = root(&killed).join("multi-objective-ratings/00001-of-00003.safetensors");
    let mut child = command(killed.path(), &words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&mut child, &first);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !root(&killed)
            .join("multi-objective-ratings.done.json")
            .exists()
    );
    let written = fs::metadata(&first).unwrap().modified().unwrap();
    let said = duel(&killed, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
    let found = outputs(&root(&killed));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in &found {
        assert!(*bytes == wanted[path], "{}", path.display());
    }

    let rows = |stage: &str| -> usize {
        let folder = root(&whole).join(stage);
        let shards = fs::read_dir(folder).unwrap();
        let rows = shards.map(|entry| {
            let file = Safetensors::open_file(&entry.unwrap().path()).unwrap();
            file.shape("embeddings").unwrap()[0]
        });
        rows.sum()
    };
    let (fit, held_out) = (
        rows("multi-objective-pairs"),
        rows("multi-objective-held-out"),
    );
    assert_eq!(fit + held_out, 30);
    // Three pairs a prompt, always together.
    assert!(
        fit % 3 == 0 && held_out % 3 == 0 && held_out > 0,
        "{held_out}"
    );
    // A prompt has 52 ratings, which are fitted on unless it is held out (D8).
    let rated = rows("multi-objective-ratings");
    assert_eq!(rated + 52 * held_out / 3, 2600);
}

#[test]
fn what_cannot_be_fitted_is_refused_with_what_to_do() {
    let folder = data(40, 6);
    for (set, wanted) in [
        (
            "multi_objective.debias=\"length\"",
            "the attributes are ends, words",
        ),
        (
            "multi_objective.attributes=[\"ends\", \"words\", \"style\"]",
            "no row has a rating of `style`",
        ),
        (
            "multi_objective.attributes=[\"ends\", \"words\", \"ends\"]",
            "stands twice among the attributes",
        ),
        ("multi_objective.max_length=3", "is left"),
        (
            "multi_objective.gate.dropout=1.0",
            "must be at least 0 and below 1",
        ),
    ] {
        let said = duel(
            &folder,
            &[
                "multi-objective",
                "recipe.toml",
                "--set",
                set,
                "--name",
                "x",
            ],
        );
        assert_ne!(said.code, 0, "{set}");
        assert!(said.err.contains(wanted), "{set}: {}", said.err);
        let _ = fs::remove_dir_all(folder.path().join("runs/x"));
    }
}

/// Held-out pairs take their prompts' ratings away; what chooses the probes' penalties is drawn from the others by a line of its own.
#[test]
fn ratings_of_the_pairs_own_prompts_are_enough_however_many_pairs_are_held_out() {
    let folder = data(150, 50);
    let said = duel(&folder, &["multi-objective", "recipe.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let probes = read(&folder, "multi-objective-probe.json");
    for probe in probes.as_array().unwrap() {
        let rows = |name: &str| probe[name].as_u64().unwrap() as f64;
        let share = rows("validation_rows") / (rows("rows") + rows("validation_rows"));
        assert!((0.05..0.45).contains(&share), "{probe}");
    }
}
