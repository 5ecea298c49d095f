//! `--dry-run`: what a run will take is said before anything is loaded, and what is not known yet is no failure.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};

#[test]
fn a_dry_run_names_device_memory_and_time_and_is_a_recipe() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let asked = [
        "dpo",
        "--model",
        "quickstart",
        "--data",
        "pairs.jsonl",
        "--dry-run",
    ];
    let said = duel(&folder, &asked);
    assert_eq!(said.code, 0, "{}", said.err);
    toml::from_str::<toml::Table>(&said.out).expect("comments only beside the recipe");
    for line in [
        "# device  cpu (",
        "# memory  about ",
        "# time    under a minute, at least",
    ] {
        assert!(said.out.contains(line), "{line} in {}", said.out);
    }
    let json = duel(&folder, &[&asked[..], &["--json"]].concat())
        .json()
        .remove(0);
    let estimate = &json["estimate"];
    assert_eq!(estimate["unknown"], serde_json::json!([]));
    let stage = &estimate["stages"][0];
    assert_eq!(
        (&stage["stage"], &stage["steps"]),
        (&"dpo".into(), &1.into())
    );
    assert!(stage["tokens"].as_u64() > Some(20), "{stage}");
    assert!(estimate["peak_bytes"].as_u64() > stage["training"]["peak"].as_u64());
    assert!(estimate["seconds"].as_f64() > Some(0.0));
    assert_eq!(json["origins"]["model.model_name_or_path"], "--set");
    assert!(!folder.path().join("runs").exists(), "nothing is written");
}

#[test]
fn files_and_models_that_are_not_there_yet_are_named_and_are_no_failure() {
    let folder = folder(&[]);
    let estimate = |arguments: &[&str]| {
        let said = duel(&folder, &[arguments, &["--dry-run", "--json"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.json().remove(0)["estimate"].take()
    };
    let later = estimate(&["sft", "--model", "quickstart", "--data", "later.jsonl"]);
    let unknown = later["unknown"][0].as_str().unwrap();
    assert!(
        unknown.starts_with("no such file: sft.data.files: "),
        "{unknown}"
    );
    assert!(
        later["peak_bytes"].is_u64(),
        "memory of full micro-batches: {later}"
    );
    assert!(later["seconds"].is_null(), "{later}");

    let cache = estimate(&["sft", "--model", "nobody/nothing", "--data", "later.jsonl"]);
    let unknown = cache["unknown"][1].as_str().unwrap();
    assert!(
        unknown.starts_with("the model's config: nobody/nothing is not in the cache "),
        "{unknown}"
    );
    assert!(cache["peak_bytes"].is_null(), "{cache}");
}

#[test]
fn every_stage_of_the_shipped_quickstart_is_estimated() {
    let folder = folder(&[]);
    let said = duel(
        &folder,
        &["run", "quickstart/quickstart", "--dry-run", "--json"],
    );
    let estimate = said.json().remove(0)["estimate"].take();
    assert_eq!(estimate["unknown"], serde_json::json!([]));
    let names: Vec<&str> = estimate["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["stage"].as_str().unwrap())
        .collect();
    for stage in [
        "sft",
        "reward",
        "round-*/responses",
        "round-*/checkpoint",
        "eval",
    ] {
        assert!(names.contains(&stage), "{stage} in {names:?}");
    }
}

#[test]
fn every_shipped_recipe_dry_runs() {
    let folder = folder(&[]);
    let listed = duel(&folder, &["recipe", "list", "--json"]).json();
    assert!(listed.len() > 6, "{listed:?}");
    for recipe in listed {
        let name = recipe["name"].as_str().unwrap();
        let said = duel(&folder, &["run", name, "--dry-run", "--json"]);
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let dry = said.json().remove(0);
        assert!(dry["recipe"]["model"].is_object(), "{name}: {dry}");
        // Without the hub's files the shapes are unknown, and that is said.
        let estimate = &dry["estimate"];
        let known = estimate["peak_bytes"].is_u64();
        let told = estimate["unknown"] != serde_json::json!([]);
        assert!(known || told, "{name}: {estimate}");
    }
}
