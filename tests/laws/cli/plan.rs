//! What a recipe takes is said before it runs, and what surely does not fit is refused before anything is loaded.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};

const DPO: [&str; 5] = ["dpo", "--model", "quickstart", "--data", "pairs.jsonl"];

#[test]
fn a_run_that_does_not_fit_is_refused_with_ways_to_make_it_fit() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let small = ["--set", "device.memory_gib=0.05"];
    let said = duel(&folder, &[&DPO[..], &small].concat());
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("stage dpo takes about"), "{}", said.err);
    assert!(
        said.err.contains("device.memory_gib is 0.05 GiB"),
        "{}",
        said.err
    );
    assert!(!folder.path().join("runs").exists(), "nothing is written");
}

#[test]
fn a_plan_names_every_part_and_its_ways_are_overrides_that_work() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    std::fs::write(
        folder.path().join("r.toml"),
        "name = \"r\"\n[model]\nmodel_name_or_path = \"quickstart\"\n[dpo.data]\nfiles = [\"missing.jsonl\"]\n[dpo.train]\nmax_tokens_per_batch = 65536\n",
    )
    .unwrap();
    let plan = |set: &[&str]| {
        let said = duel(&folder, &[&["plan", "r.toml", "--json"], set].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.json().remove(0)
    };
    let whole = plan(&["--set", "device.memory_gib=0.5"]);
    let terms = &whole["estimate"]["stages"][0]["training"];
    for term in ["weights", "moments", "gradients", "activations"] {
        assert!(terms[term].as_u64() > Some(0), "{term}: {whole}");
    }
    let ways = whole["ways"].as_array().unwrap();
    assert!(!ways.is_empty(), "{whole}");
    for way in ways {
        let set = way["set"].as_array().unwrap().iter();
        let set: Vec<&str> = set
            .flat_map(|set| ["--set", set.as_str().unwrap()])
            .collect();
        let changed = plan(&[&set[..], &["--set", "device.memory_gib=0.5"]].concat());
        assert_eq!(changed["estimate"]["peak_bytes"], way["peak_bytes"]);
        assert!(way["peak_bytes"].as_u64() < Some(1 << 29), "{way}");
        assert_eq!(changed["ways"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn without_a_recipe_a_plan_says_what_fits_where() {
    let folder = folder(&[]);
    let said = duel(&folder, &["plan", "--json"]);
    let rows = said.json();
    assert_eq!(rows.len(), 24);
    let longer = duel(&folder, &["plan", "--json", "--max-length", "8192"]).json();
    assert!(longer[0]["peak_bytes"].as_u64() > rows[0]["peak_bytes"].as_u64());
}
