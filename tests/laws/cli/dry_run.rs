//! `--dry-run`: what a run will take is said before anything is loaded, and what is not known yet is no failure.
#![allow(clippy::unwrap_used)]

use super::hub::{self, Hub};
use super::{PAIRS, duel, duel_online, folder};
use duel::model::files::{config::HfConfig, parameters};

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
}

#[test]
fn a_model_of_which_nothing_is_known_fails_after_all_else_was_said() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let asked = [
        "dpo",
        "--model",
        "nobody/nothing",
        "--data",
        "pairs.jsonl",
        "--dry-run",
        "--json",
    ];
    let said = duel(&folder, &asked);
    assert_eq!(said.code, 2, "{}", said.err);
    let fact = "the model's config: nobody/nothing is not in the cache ";
    assert!(
        said.err.contains(fact) && said.err.contains("hint: unset HF_HUB_OFFLINE"),
        "{}",
        said.err
    );
    let estimate = said.json().remove(0)["estimate"].take();
    assert!(estimate["peak_bytes"].is_null(), "{estimate}");
    assert!(
        estimate["unknown"][0].as_str().unwrap().starts_with(fact),
        "{estimate}"
    );

    // A hub that knows no such model, and one that does not answer.
    let hub = Hub::start();
    let said = duel_online(&folder, &hub.endpoint, &asked);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("nobody/nothing"), "{}", said.err);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = duel_online(&folder, &format!("http://{nobody}"), &asked);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("cannot reach http://"), "{}", said.err);
    // Of two models the long reason is said once, and not again where the command ends.
    let judges = "name = \"r\"\nmodel.model_name_or_path = \"quickstart\"\n\
                  reward = { data.files = \"pairs.jsonl\", model_name_or_path = \"nobody/one\" }\n\
                  pairwise = { data.files = \"pairs.jsonl\", model_name_or_path = \"nobody/two\" }\n";
    std::fs::write(folder.path().join("r.toml"), judges).unwrap();
    let both = ["run", "r.toml", "--dry-run"];
    let said = duel_online(&folder, &format!("http://{nobody}"), &both);
    let all = format!("{}{}", said.out, said.err);
    assert_eq!(all.matches("for nobody/").count(), 1, "{all}");
    assert!(
        all.contains("pairwise: the model's config: cannot reach http://"),
        "{all}"
    );
    let said = duel_online(
        &folder,
        &hub.endpoint,
        &[
            "plan",
            "smollm2-hh/reward",
            "--set",
            "model.model_name_or_path=no/model",
        ],
    );
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err.contains("nothing can be planned") && said.err.contains("no/model"),
        "{}",
        said.err
    );
}

/// The counts that the publishers state: the configs under tests/golden/hub are of these models.
#[test]
fn the_configs_of_the_hub_have_the_parameters_of_their_models() {
    let count = |owner: &str, name: &str| -> usize {
        let json =
            serde_json::from_str(&std::fs::read_to_string(hub::config(owner, name)).unwrap());
        let spec = HfConfig::from_value(json.unwrap())
            .unwrap()
            .resolve()
            .unwrap();
        let sizes = parameters(&spec).into_iter();
        sizes
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    };
    assert_eq!(count("meta-llama", "Meta-Llama-3-8B"), 8_030_261_248);
    assert_eq!(
        count("meta-llama", "Meta-Llama-3-8B-Instruct"),
        8_030_261_248
    );
    assert_eq!(count("google", "gemma-2b-it"), 2_506_172_416);
    assert_eq!(count("google", "gemma-2-9b-it"), 9_241_705_984);
    assert_eq!(
        count("mistralai", "Mistral-7B-Instruct-v0.2"),
        7_241_732_096
    );
    assert_eq!(count("HuggingFaceTB", "SmolLM2-135M-Instruct"), 134_515_008);
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
fn every_shipped_recipe_dry_runs_on_the_configs_of_its_models_alone() {
    let folder = folder(&[]);
    let hub = Hub::start();
    let listed = duel(&folder, &["recipe", "list", "--json"]).json();
    assert!(listed.len() > 20, "{listed:?}");
    for recipe in listed {
        let name = recipe["name"].as_str().unwrap();
        let said = duel_online(
            &folder,
            &hub.endpoint,
            &["run", name, "--dry-run", "--json"],
        );
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let dry = said.json().remove(0);
        let estimate = &dry["estimate"];
        assert!(estimate["peak_bytes"].is_u64(), "{name}: {estimate}");
        // Rows that are not here, and the tokenizer that would count them: nothing else.
        for unknown in estimate["unknown"].as_array().unwrap() {
            let unknown = unknown.as_str().unwrap();
            let of_rows = [
                "no such file: ",
                ": the rows: ",
                ": the ratings: ",
                ": the prompts' lengths: ",
            ];
            assert!(
                of_rows.iter().any(|kind| unknown.contains(kind)),
                "{name}: {unknown}"
            );
        }
        for stage in estimate["stages"].as_array().unwrap() {
            let trains = stage["training"].is_object();
            let timed = stage["seconds"].is_f64() || stage["seconds_of_a_full_step"].is_f64();
            assert!(timed || !trains, "{name}: {stage}");
        }
        let known = estimate["unknown"] == serde_json::json!([]);
        assert_eq!(
            estimate["seconds"].is_f64(),
            known,
            "{name}: no time without rows: {estimate}"
        );
    }
    let mut asked = hub.asked();
    assert!(
        asked.iter().all(|target| target.ends_with("/config.json")),
        "{asked:?}"
    );
    // By HEAD and GET, and no more once it is in the cache.
    asked.sort();
    assert!(
        asked.chunk_by(|a, b| a == b).all(|same| same.len() <= 2),
        "{asked:?}"
    );
}

/// The tokenizer comes with the weights: until then even rows that are here have no length.
#[test]
fn a_model_on_the_hub_is_planned_by_its_config() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let hub = Hub::start();
    let plan = |set: &[&str]| {
        let set = set.iter().flat_map(|set| ["--set", set]);
        let asked: Vec<&str> = ["plan", "llama3-8b/reward", "--json"]
            .into_iter()
            .chain(set)
            .collect();
        let said = duel_online(&folder, &hub.endpoint, &asked);
        assert_eq!(said.code, 0, "{}", said.err);
        let estimate = said.json().remove(0)["estimate"].take();
        let unknown = estimate["unknown"][0].as_str().unwrap().to_owned();
        // While it trains: a processor takes more to read the weights first.
        let bytes = estimate["stages"][0]["training"]["peak"].as_u64().unwrap();
        (bytes as f64 / f64::from(1 << 30), unknown)
    };
    let rows = "reward.data.files=pairs.jsonl";
    let (packed, unknown) = plan(&[rows, "model.dtype=bf16"]);
    let fact = "reward: the rows: meta-llama/Meta-Llama-3-8B-Instruct is not downloaded yet";
    assert!(unknown.starts_with(fact), "{unknown}");
    let (half, _) = plan(&[rows, "model.load_in_4bit=false", "model.dtype=bf16"]);
    let (whole, _) = plan(&[rows, "model.load_in_4bit=false", "reward.lora=false"]);
    assert!((5.0..16.0).contains(&packed), "{packed} GiB");
    assert!(half > packed + 8.0, "{half} GiB");
    assert!(
        whole > 100.0,
        "four numbers of four bytes a weight: {whole} GiB"
    );
}
