//! A multi-objective reward model against PyTorch: a tiny one in ArmoRM's published layout (tests/golden/make_armorm.py), and what
//! duel writes itself.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use duel::model::build::Values;
use duel::model::files::{Checkpoint, Safetensors};
use duel::model::{Decoder, Gated, Head};
use duel::trie::{Sequence, Trie};
use serde_json::Value;
use std::path::{Path, PathBuf};

struct FromFiles<'a>(&'a Checkpoint);

impl Values for FromFiles<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> duel::Result<Vec<f32>> {
        self.0.read(name, shape)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/armorm")
}

fn golden() -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    golden["rows"].as_array().unwrap().clone()
}

fn open() -> (Checkpoint, Decoder, Gated) {
    let checkpoint = Checkpoint::open(&folder()).unwrap();
    let device = Device::flex();
    let spec = checkpoint.spec.clone();
    let decoder = Decoder::build(&spec, &mut FromFiles(&checkpoint), &device).unwrap();
    let gated = Gated::open(&checkpoint, &device).unwrap().unwrap();
    (checkpoint, decoder, gated)
}

fn near(found: &[f32], wanted: &Value) {
    let wanted: Vec<f64> = serde_json::from_value(wanted.clone()).unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        let error = (f64::from(*found) - wanted).abs();
        assert!(
            error < 2e-5 * wanted.abs().max(1.0),
            "{found} is not {wanted}"
        );
    }
}

/// D3, D4: softmax over the attributes, and the score is that of the debiased rewards.
#[test]
fn d3_d4_the_published_layout_gives_the_rewards_weights_and_scores_of_pytorch() {
    let (checkpoint, decoder, gated) = open();
    assert_eq!(checkpoint.spec.head, Head::Gated);
    let rows = golden();
    let sequences: Vec<Sequence> = rows
        .iter()
        .map(|row| {
            let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
            Sequence::asked(ids, row["question"].as_u64().unwrap() as usize)
        })
        .collect();
    // The first two share their prompt: in one trie it is computed once.
    let said = gated.opinions(decoder.embeddings(&Trie::new(&sequences)));
    assert_eq!(said.gate[0], said.gate[1]);
    for (i, row) in rows.iter().enumerate() {
        near(&said.rewards[i], &row["rewards"]);
        near(&said.debiased[i], &row["debiased"]);
        near(&said.gate[i], &row["gate"]);
        near(&said.coefficients[i], &row["coefficients"]);
        near(&said.scores[i..=i], &serde_json::json!([row["score"]]));
        // Both ways to say it are the same.
        let sum = |weights: &[f32], rewards: &[f32]| -> f32 {
            weights.iter().zip(rewards).map(|(w, r)| w * r).sum()
        };
        let through_matrix = sum(&said.gate[i], &said.debiased[i]);
        let coefficients = sum(&said.coefficients[i], &said.rewards[i]);
        assert!((through_matrix - coefficients).abs() < 1e-4);
        // Without the matrix it would be another score.
        assert!((sum(&said.gate[i], &said.rewards[i]) - said.scores[i]).abs() > 1e-2);
    }
}

/// The contract of the file: names and shapes are the published ones, none is missing and none is added.
#[test]
fn what_is_written_has_the_names_and_values_of_what_was_read() {
    let (checkpoint, _, gated) = open();
    let file = Safetensors::open(&folder()).unwrap();
    let head: Vec<&str> = file
        .names()
        .filter(|name| !name.starts_with("model."))
        .collect();
    let mut written: Vec<String> = gated.tensors().into_iter().map(|(name, ..)| name).collect();
    written.sort();
    assert_eq!(written, head);
    for (name, shape, values) in gated.tensors() {
        assert_eq!(values, file.read(&name, &shape).unwrap(), "{name}");
    }
    assert_eq!(gated.attributes[0], "objective-1");
    let config = gated.config(&checkpoint.config, 2).unwrap();
    assert_eq!(config["architectures"][0], "LlamaForRewardModelWithGating");
    for key in [
        "num_objectives",
        "gating_temperature",
        "gating_hidden_dim",
        "gating_n_hidden",
    ] {
        assert_eq!(config[key], checkpoint.config[key], "{key}");
    }
}
