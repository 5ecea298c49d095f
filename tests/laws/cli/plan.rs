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
    // With more memory there are ways, cheapest first, and the first one runs.
    let mut large = vec!["dpo", "--model", "quickstart", "--data", "quickstart:pairs"];
    for set in [
        "device.memory_gib=0.12",
        "dpo.data.max_rows=200",
        "dpo.train.max_tokens_per_batch=65536",
        "dpo.train.per_device_train_batch_size=128",
        "dpo.train.max_steps=1",
    ] {
        large.extend(["--set", set]);
    }
    let said = duel(&folder, &large);
    let ways: Vec<&str> = said
        .err
        .lines()
        .filter(|line| line.contains("--set "))
        .collect();
    let first = ways[0]
        .trim_start_matches("hint:")
        .split('(')
        .next()
        .unwrap();
    assert!(
        ways.len() > 1 && first.contains("gradient_checkpointing"),
        "{}",
        said.err
    );
    // A dry run says the same.
    let dry = duel(&folder, &[&large[..], &["--dry-run"]].concat()).out;
    assert!(
        dry.contains(&format!("#         would fit: {}", first.trim())),
        "{dry}"
    );
    assert!(dry.contains("device.memory_gib is 123 MiB"), "{dry}");
    let set: Vec<&str> = first.split_whitespace().collect();
    let said = duel(&folder, &[&large[..], &set].concat());
    assert_eq!(said.code, 0, "{}", said.err);
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

/// A Llama of 1.6 * 10^12 parameters that takes no room on the disk: its file has a header and a hole.
#[cfg(unix)]
fn enormous(folder: &std::path::Path) {
    let (hidden, intermediate) = (1usize << 16, 1usize << 23);
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": 1,
        "num_attention_heads": 512, "num_key_value_heads": 8, "vocab_size": 32,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    let (square, narrow) = (vec![hidden, hidden], vec![hidden / 64, hidden]);
    let (wide, tall) = (vec![intermediate, hidden], vec![hidden, intermediate]);
    let shapes = [
        ("embed_tokens", vec![32, hidden]),
        ("norm", vec![hidden]),
        ("layers.0.input_layernorm", vec![hidden]),
        ("layers.0.post_attention_layernorm", vec![hidden]),
        ("layers.0.self_attn.q_proj", square.clone()),
        ("layers.0.self_attn.k_proj", narrow.clone()),
        ("layers.0.self_attn.v_proj", narrow),
        ("layers.0.self_attn.o_proj", square),
        ("layers.0.mlp.gate_proj", wide.clone()),
        ("layers.0.mlp.up_proj", wide),
        ("layers.0.mlp.down_proj", tall),
    ];
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in shapes {
        let begin = end;
        end += 2 * shape.iter().product::<usize>();
        let entry =
            serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]});
        header.insert(format!("model.{name}.weight"), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(&header);
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("model.safetensors"), &file).unwrap();
    let weights = std::fs::File::options()
        .write(true)
        .open(folder.join("model.safetensors"));
    weights.unwrap().set_len((file.len() + end) as u64).unwrap();
}

#[test]
#[cfg(unix)]
fn a_model_that_surely_does_not_fit_is_refused_before_it_is_loaded() {
    let folder = folder(&[
        ("pairs.jsonl", PAIRS),
        (
            "answers.jsonl",
            "{\"prompt\": \"sky?\", \"responses\": [\"blue\", \"red\"], \"labels\": [1, 0]}\n",
        ),
    ]);
    enormous(&folder.path().join("enormous"));
    let commands: [&[&str]; 10] = [
        &["judge", "--data", "answers.jsonl"],
        &["score", "--data", "pairs.jsonl"],
        &["eval", "--data", "pairs.jsonl"],
        &["best-of", "--data", "answers.jsonl"],
        &["bench", "judge", "--data", "pairs.jsonl"],
        // What writes has its matrices twice.
        &["generate", "--prompts", "pairs.jsonl", "--out", "o.jsonl"],
        &["chat"],
        &["bench", "generate", "--data", "pairs.jsonl"],
        // What is trained has gradients and moments beside it.
        &["bench", "sft", "--data", "pairs.jsonl"],
        &["bench", "dpo", "--data", "pairs.jsonl"],
    ];
    for (at, words) in commands.iter().enumerate() {
        let model = ["--model", "enormous", "--backend", "cpu"];
        let said = duel(&folder, &[words, &model[..]].concat());
        assert_eq!(said.code, 1, "{words:?}: {}", said.err);
        let takes = said.err.split("enormous takes ").nth(1);
        let takes = takes.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let tib = takes.unwrap_or_else(|| panic!("{words:?}: {}", said.err)) / 1024.0;
        // Its weights once, twice, and four times.
        let least = 6.0 * [1.0, 2.0, 4.0][if at < 5 { 0 } else { 1 + usize::from(at > 7) }];
        assert!(tib > least && tib < 1.1 * least, "{words:?}: {tib} TiB");
        assert!(
            said.err.contains("the device has"),
            "{words:?}: {}",
            said.err
        );
    }
    let said = duel(
        &folder,
        &["export", "enormous", "--out", "o", "--backend", "cpu"],
    );
    assert!(said.err.contains("take a smaller one"), "{}", said.err);
}
