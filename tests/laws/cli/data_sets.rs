//! Data sets of the hub wherever rows are named: in recipes, on the command line, and by their names in the catalogue.

use super::hub::Hub;
use super::{Said, duel, duel_online, folder};
use tempfile::TempDir;

const RECIPE: &str = r#"
name = "taught"
[model]
model_name_or_path = "quickstart"
[dpo]
max_length = 128
[dpo.data]
files = "me/pairs"
[dpo.eval]
files = "me/pairs@v2"
[dpo.train]
max_steps = 1
"#;

fn pairs(word: &str, count: usize) -> String {
    (0..count)
        .map(|n| {
            format!(
                "{{\"prompt\": \"{word} {n}\", \"chosen\": \"Yes, {n}.\", \"rejected\": \"No.\"}}\n"
            )
        })
        .collect()
}

/// `main` to learn from and `v2` to be measured on.
fn hub() -> Hub {
    let hub = Hub::with_rows(&[
        ("data/train-00000-of-00002.jsonl", pairs("one", 3)),
        ("data/train-00001-of-00002.jsonl", pairs("two", 3)),
        ("data/test-00000-of-00001.jsonl", pairs("three", 4)),
        ("README.md", "no rows".to_owned()),
    ]);
    hub.push("v2", &[("data/test.jsonl", pairs("four", 2))]);
    hub
}

/// Without a network, on what is in the cache.
fn offline(folder: &TempDir, arguments: &[&str]) -> Said {
    duel(folder, arguments)
}

#[test]
fn a_recipe_names_data_sets_of_the_hub_and_a_plan_downloads_none() {
    let folder = folder(&[("mine.toml", RECIPE)]);
    let hub = hub();
    let plan = || {
        let dry = ["dpo", "mine.toml", "--dry-run", "--json"];
        let said = duel_online(&folder, &hub.endpoint, &dry);
        assert_eq!(said.code, 0, "{}", said.err);
        said.json().remove(0)["estimate"]["unknown"].take()
    };
    let unknown = "dpo: the rows: the data set me/pairs is not downloaded yet";
    assert_eq!(plan(), serde_json::json!([unknown]));
    assert_eq!(hub.asked(), Vec::<String>::new());

    let run = ["dpo", "mine.toml"];
    let first = duel_online(&folder, &hub.endpoint, &run);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("dpo: 6 rows"), "{}", first.err);
    assert!(first.err.contains("dpo-eval: 2 rows"), "{}", first.err);
    let asked = hub.asked();
    let count = |part: &str| asked.iter().filter(|line| line.contains(part)).count();
    // Each file once, by HEAD and GET, however often the run reads it, and no other.
    assert!((1..4).contains(&count("train-00000")), "{asked:?}");
    assert_eq!((count("test-00000"), count("README")), (0, 0), "{asked:?}");
    assert_eq!(plan(), serde_json::json!([]));
    let kept =
        |name: &str| std::fs::read_to_string(folder.path().join("runs/taught").join(name)).unwrap();
    for name in ["hf://datasets/me/pairs\"", "hf://datasets/me/pairs@v2\""] {
        assert!(kept("recipe.toml").contains(name), "{name}");
    }
    let again = offline(&folder, &run);
    assert_eq!(again.code, 0, "{}", again.err);

    // Whoever goes on reads the rows that the run began with; whoever begins anew reads the newest.
    hub.push("main", &[("data/train.jsonl", pairs("five", 5))]);
    let keys = ["reward.data.files=me/pairs", "reward.train.max_steps=1"];
    let more = ["run", "mine.toml", "--set", keys[0], "--set", keys[1]];
    let more = duel_online(&folder, &hub.endpoint, &more);
    assert_eq!(more.code, 0, "{}", more.err);
    assert!(more.err.contains("reward: 6 rows"), "{}", more.err);
    assert!(kept("data-sets.json").contains(&"0".repeat(40)));
    let other = [&run[..], &["--name", "other"]].concat();
    let other = duel_online(&folder, &hub.endpoint, &other);
    assert!(other.err.contains("dpo: 5 rows"), "{}", other.err);
}

#[test]
fn what_a_recipe_cannot_have_of_the_hub_ends_it_before_it_begins() {
    let folder = folder(&[("mine.toml", RECIPE)]);
    let refused = |key: &str| {
        let said = duel_online(
            &folder,
            &hub().endpoint,
            &["dpo", "mine.toml", "--set", key],
        );
        assert_eq!(said.code, 2, "{key}: {}", said.err);
        assert!(!folder.path().join("runs").exists(), "{key}");
        said.err
    };
    let split = refused("dpo.data.split=validation");
    let fact = "me/pairs has no part `validation`; it has data/test, data/train";
    assert!(split.contains(fact), "{split}");
    let local = refused("dpo.data={files=\"mine.jsonl\", split=\"test\"}");
    assert!(local.contains("`dpo.data.split`"), "{local}");
    let wrong = refused("dpo.data.files=hf://me/pairs");
    assert!(wrong.contains("hf://datasets/me/pairs"), "{wrong}");
    let cached = offline(&folder, &["dpo", "mine.toml"]);
    assert!(cached.err.contains("is not in the cache"), "{}", cached.err);
    // A file of that name is the file, and files that a later layer names have no split of an earlier one's.
    std::fs::create_dir(folder.path().join("me")).unwrap();
    std::fs::write(folder.path().join("me/pairs"), "").unwrap();
    let shown = |set: &[&str]| {
        let said = duel(&folder, &[&["recipe", "show", "mine.toml"], set].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.out
    };
    let shown_now = shown(&[]);
    let files: toml::Value = toml::from_str(&shown_now).unwrap();
    let file = files["dpo"]["data"]["files"]
        .as_str()
        .or_else(|| files["dpo"]["data"]["files"][0].as_str());
    let here = folder.path().join("me/pairs");
    assert_eq!(file.map(std::path::Path::new), Some(&*here), "{shown_now}");
    // In either order.
    let split = ["--set", "dpo.data.split=test"];
    let set = ["--set", "dpo.data.files=hf://datasets/me/pairs"];
    for both in [[split, set].concat(), [set, split].concat()] {
        assert!(shown(&both).contains("split = \"test\""), "{both:?}");
    }
    let over = "extends = [\"mine.toml\"]\nname = \"over\"\n[dpo.data]\nfiles = \"hf://datasets/me/pairs\"\nsplit = \"test\"\n";
    std::fs::write(folder.path().join("over.toml"), over).unwrap();
    let mine = [
        "recipe",
        "show",
        "over.toml",
        "--set",
        "dpo.data.files=mine.jsonl",
    ];
    let mine = duel(&folder, &mine);
    assert_eq!(mine.code, 0, "{}", mine.err);
    assert!(!mine.out.contains("split ="), "{}", mine.out);
}

#[test]
fn rows_of_one_file_to_learn_from_and_to_measure_on_are_told_of() {
    let folder = folder(&[("mine.toml", RECIPE)]);
    let hub = Hub::with_rows(&[("data/train.jsonl", pairs("one", 3))]);
    let same = ["dpo", "mine.toml", "--set", "dpo.eval.files=me/pairs"];
    let said = duel_online(&folder, &hub.endpoint, &same);
    assert_eq!(said.code, 0, "{}", said.err);
    let fact = "what it learns from and what it is measured on are rows of one file";
    assert_eq!(said.err.matches(fact).count(), 1, "{}", said.err);
}

/// The rows of tests/golden/parquet, as the hub keeps converted sets; a known set brings its own names of columns along.
#[test]
fn every_command_reads_data_sets_of_the_hub() {
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/parquet/nested.parquet"
    );
    let hub = Hub::with_rows(&[(
        "data/train-00000-of-00001.parquet",
        std::fs::read(golden).unwrap(),
    )]);
    let folder = folder(&[]);
    let json = |arguments: &[&str]| {
        let said = duel_online(&folder, &hub.endpoint, arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.json().remove(0)
    };
    let model = ["--model", "quickstart"];
    let (out, drawn) = ("out.jsonl", "drawn.jsonl");
    // The same lines as of the file itself: `NAME` stands for it.
    for words in [
        &["data", "check", "NAME", "--json"][..],
        &["data", "show", "NAME", "--model", "quickstart", "--json"],
        &["score", "--data", "NAME", "--json"],
        &["judge", "--rule", "length:3", "--data", "NAME", "--json"],
        &[
            "eval",
            "--pairwise",
            "quickstart",
            "--data",
            "NAME",
            "--json",
        ],
        &[
            "generate",
            "--prompts",
            "NAME",
            "--out",
            "drawn.jsonl",
            "--max-new-tokens",
            "2",
        ],
    ] {
        let said = |name: &str| {
            let named = words
                .iter()
                .map(|word| if *word == "NAME" { name } else { word });
            let mut named: Vec<&str> = named.collect();
            if ["score", "generate"].contains(&words[0]) {
                named.extend(model);
            }
            let said = duel_online(&folder, &hub.endpoint, &named);
            let written = [out, drawn].map(|file| {
                let file = folder.path().join(file);
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let _ = std::fs::remove_dir_all(folder.path().join("drawn.jsonl.key"));
                let _ = std::fs::remove_file(file);
                text
            });
            // Whatever names the file is another name.
            let mut lines = said.json();
            for line in &mut lines {
                for own in ["file", "origin"] {
                    line.as_object_mut().unwrap().remove(own);
                }
            }
            (said.code, lines, written, said.err)
        };
        let (of_set, of_file) = (said("me/nested"), said(golden));
        assert_eq!(of_set.0, 0, "{words:?}: {}", of_set.3);
        assert_eq!(
            (&of_set.1, &of_set.2),
            (&of_file.1, &of_file.2),
            "{words:?}"
        );
        assert!(
            !of_set.1.is_empty() || of_set.2.concat().len() > 9,
            "{words:?}"
        );
    }
    let data = ["--data", "orca-dpo", "--dry-run", "--json"];
    let known = json(&[&["dpo", "--model", "quickstart"], &data[..]].concat());
    let data = &known["recipe"]["dpo"]["data"];
    let hub = "hf://datasets/Intel/orca_dpo_pairs";
    assert_eq!(data["files"], serde_json::json!([hub]));
    assert_eq!(data["columns"], serde_json::json!({"prompt": "question"}));
}
