//! Data sets of the hub wherever rows are named: in recipes, on the command line, and by their names in the catalogue.

use super::hub::Hub;
use super::{Said, command, duel, duel_online, folder, said};
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
split = "test"
[dpo.train]
max_steps = 1
"#;

fn pairs(word: &str) -> String {
    (1..4)
        .map(|n| {
            format!(
                "{{\"prompt\": \"{word} {n}\", \"chosen\": \"Yes, {n}.\", \"rejected\": \"No.\"}}\n"
            )
        })
        .collect()
}

fn hub() -> Hub {
    Hub::with_rows(&[
        ("data/train-00000-of-00002.jsonl", pairs("one")),
        ("data/train-00001-of-00002.jsonl", pairs("two")),
        ("data/test-00000-of-00001.jsonl", pairs("three")),
        ("README.md", "no rows".to_owned()),
    ])
}

/// Without a network, on what is in the cache.
fn offline(folder: &TempDir, arguments: &[&str]) -> Said {
    said(
        command(folder.path(), arguments)
            .env_remove("HF_HUB_CACHE")
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", folder.path().join("hf")),
    )
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
    assert!(first.err.contains("dpo-eval: 3 rows"), "{}", first.err);
    let asked = hub.asked();
    let count = |part: &str| asked.iter().filter(|line| line.contains(part)).count();
    // Listed once for each name; each file by HEAD and GET.
    assert_eq!(
        (count("/tree/main"), count("/tree/v2")),
        (1, 1),
        "{asked:?}"
    );
    assert!(count("train-00000") <= 2, "{asked:?}");
    assert_eq!(plan(), serde_json::json!([]));
    let kept = std::fs::read_to_string(folder.path().join("runs/taught/recipe.toml")).unwrap();
    for name in ["hf://datasets/me/pairs\"", "hf://datasets/me/pairs@v2\""] {
        assert!(kept.contains(name), "{name}: {kept}");
    }
    let again = offline(&folder, &run);
    assert_eq!(again.code, 0, "{}", again.err);
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
    assert!(
        split.contains("several parts: data/test, data/train"),
        "{split}"
    );
    let local = refused("dpo.data={files=\"mine.jsonl\", split=\"test\"}");
    assert!(local.contains("`dpo.data.split`"), "{local}");
    let wrong = refused("dpo.data.files=hf://me/pairs");
    assert!(wrong.contains("hf://datasets/me/pairs"), "{wrong}");
    let cached = offline(&folder, &["dpo", "mine.toml"]);
    assert!(cached.err.contains("is not in the cache"), "{}", cached.err);
    // A file of that name is the file.
    std::fs::create_dir(folder.path().join("me")).unwrap();
    std::fs::write(folder.path().join("me/pairs"), "").unwrap();
    let shown = duel(&folder, &["recipe", "show", "mine.toml"]);
    assert!(
        !shown.out.contains("hf://datasets/me/pairs\""),
        "{}",
        shown.out
    );
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
    let rows = json(&["data", "check", "me/nested", "--json"])["rows"].take();
    assert_eq!(json(&["data", "check", golden, "--json"])["rows"], rows);
    let scored = json(&[
        "score",
        "--model",
        "quickstart",
        "--data",
        "me/nested",
        "--json",
    ]);
    assert!(scored.is_object(), "{scored}");
    let data = ["--data", "orca-dpo", "--dry-run", "--json"];
    let known = json(&[&["dpo", "--model", "quickstart"], &data[..]].concat());
    let data = &known["recipe"]["dpo"]["data"];
    let hub = "hf://datasets/Intel/orca_dpo_pairs";
    assert_eq!(data["files"], serde_json::json!([hub]));
    assert_eq!(data["split"], "train");
    assert_eq!(data["columns"], serde_json::json!({"prompt": "question"}));
}
