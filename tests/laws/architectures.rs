//! Every architecture against transformers in f64: log-probs, rewards, gradients (tiny random models and
//! goldens by tests/golden/make_architectures.py).

use crate::tiny;
use burn::tensor::{Device, Tensor};
use duel::model::build::Values;
use duel::model::files::Checkpoint;
use duel::model::{Activation, Decoder, DecoderSpec, RopeScaling};
use duel::trie::{Sequence, Trie};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The models with an output head.
const CAUSAL: [&str; 8] = [
    "llama",
    "llama3-tied",
    "llama-biased",
    "mistral-window",
    "qwen2-tied",
    "qwen3",
    "gemma",
    "gemma2",
];
/// The ways to stretch the rotary embedding beside llama3's.
const STRETCHED: [&str; 4] = [
    "llama-linear",
    "llama-dynamic",
    "qwen2-yarn",
    "llama-yarn-stated",
];
const REWARD: [&str; 2] = ["llama-reward", "gemma2-reward"];

struct FromFiles(Checkpoint);

impl Values for FromFiles {
    fn values(&mut self, name: &str, shape: &[usize]) -> duel::Result<Vec<f32>> {
        self.0.read(name, shape)
    }
}

/// A committed model and what transformers says of it.
struct Golden {
    name: &'static str,
    decoder: Decoder,
    numbers: Value,
}

fn folder(name: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/architectures");
    golden.join(name)
}

impl Golden {
    fn open(name: &'static str) -> Self {
        let checkpoint = Checkpoint::open(&folder(name)).unwrap();
        let spec = checkpoint.spec.clone();
        let decoder = Decoder::build(&spec, &mut FromFiles(checkpoint), &Device::flex()).unwrap();
        let text = std::fs::read_to_string(folder(name).join("golden.json")).unwrap();
        Self {
            name,
            decoder,
            numbers: serde_json::from_str(&text).unwrap(),
        }
    }

    fn spec(&self) -> &DecoderSpec {
        &self.decoder.spec
    }

    /// All three sequences, every token scored.
    fn sequences(&self) -> Vec<Sequence> {
        let all: Vec<Vec<u32>> = serde_json::from_value(self.numbers["sequences"].clone()).unwrap();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 7, 40]);
        all.iter().map(|ids| Sequence::response(&[], ids)).collect()
    }

    /// A list for each sequence, flattened.
    fn flat(&self, key: &str) -> Vec<f64> {
        let nested: Vec<Vec<f64>> = serde_json::from_value(self.numbers[key].clone()).unwrap();
        nested.into_iter().flatten().collect()
    }

    /// Norms within 1e-3, entries within 1e-3 of themselves or of the gradient's root mean square.
    fn compare_gradients(&self, found: &tiny::Named) {
        let wanted = self.numbers["gradients"].as_object().unwrap();
        assert!(
            wanted.keys().all(|name| found.contains_key(name)),
            "{}: {:?}",
            self.name,
            found.keys()
        );
        assert_eq!(
            wanted.len(),
            found.len(),
            "{}: {:?}",
            self.name,
            found.keys()
        );
        for (name, wanted) in wanted {
            let found = &found[name];
            let norm = wanted["norm"].as_f64().unwrap();
            let place = format!("{}: {name}", self.name);
            assert!(
                (tiny::norm(found) - norm).abs() <= 1e-3 * norm,
                "{place}: {norm}"
            );
            let mean_square = norm / (found.len() as f64).sqrt();
            let entries: Vec<(usize, f64)> =
                serde_json::from_value(wanted["entries"].clone()).unwrap();
            for (i, entry) in entries {
                let near = 1e-3 * entry.abs().max(mean_square);
                assert!(
                    (found[i] - entry).abs() <= near,
                    "{place}[{i}]: {} is not {entry}",
                    found[i]
                );
            }
        }
    }
}

#[test]
fn the_models_differ_in_what_their_architectures_differ_in() {
    let models = CAUSAL.map(Golden::open);
    let specs: Vec<&DecoderSpec> = models.iter().map(Golden::spec).collect();
    let [llama, llama3, biased, mistral, qwen2, qwen3, gemma, gemma2] = specs[..] else {
        panic!("eight models")
    };
    assert!(llama.num_key_value_heads < llama.num_attention_heads && !llama.tie_word_embeddings);
    assert!(llama3.tie_word_embeddings);
    assert!(matches!(llama3.rope.scaling, RopeScaling::Llama3 { .. }));
    assert!(biased.qkv_bias && biased.o_bias && biased.mlp_bias);
    assert_eq!(mistral.sliding_window, Some(5));
    assert!(qwen2.qkv_bias && !qwen2.o_bias && qwen2.tie_word_embeddings);
    assert!(gemma.norm_plus_one && gemma.embedding_scale > 5.0 && gemma.tie_word_embeddings);
    assert_eq!(gemma.activation, Activation::GeluTanh);
    assert!(!gemma.post_norms && gemma2.post_norms);
    assert_eq!(
        [0, 1, 2].map(|layer| gemma2.window(layer)),
        [Some(5), None, Some(5)]
    );
    assert_eq!(
        (
            gemma2.attn_logit_softcapping,
            gemma2.final_logit_softcapping
        ),
        (Some(2.0), Some(3.0))
    );
    assert_ne!(gemma2.query_pre_attn_scalar, gemma2.head_dim);
    assert!(qwen3.qk_norm && qwen3.head_dim * qwen3.num_attention_heads != qwen3.hidden_size);
}

#[test]
fn the_stretched_models_differ_in_how_they_are_stretched() {
    let models = STRETCHED.map(Golden::open);
    let scalings = models.each_ref().map(|model| &model.spec().rope.scaling);
    let [linear, dynamic, yarn, stated] = scalings;
    assert_eq!(*linear, RopeScaling::Linear { factor: 2.5 });
    assert_eq!(*dynamic, RopeScaling::None);
    let factor = |scaling: &RopeScaling| match scaling {
        RopeScaling::Yarn {
            attention_factor,
            truncate,
            ..
        } => (*attention_factor, *truncate),
        other => panic!("{other:?}"),
    };
    let ((one, whole), (other, not)) = (factor(yarn), factor(stated));
    assert!(one > 1.1 && other > 1.1 && one != other && whole && !not);
}

#[test]
fn log_probs_of_every_architecture_are_those_of_transformers() {
    for model in CAUSAL.into_iter().chain(STRETCHED).map(Golden::open) {
        let found = tiny::token_logps(&model.decoder, &Trie::new(&model.sequences()));
        let error = tiny::distance(&found, &model.flat("token_logps"));
        assert!(error < 1e-4, "{}: {error}", model.name);
    }
}

#[test]
fn gradients_of_every_architecture_are_those_of_torch() {
    for model in CAUSAL.into_iter().chain(STRETCHED).map(Golden::open) {
        let trie = Trie::new(&model.sequences());
        let sum = |decoder: &Decoder| decoder.target_logprobs(&trie).logps.sum();
        model.compare_gradients(&tiny::gradients(&model.decoder, sum));
    }
}

#[test]
fn rewards_and_their_gradients_are_those_of_transformers() {
    for model in REWARD.map(Golden::open) {
        let trie = Trie::new(&model.sequences());
        let found = tiny::numbers(model.decoder.rewards(&trie));
        let error = tiny::distance(&found, &model.flat("rewards"));
        assert!(error < 1e-4, "{}: {error}", model.name);
        let sum = |decoder: &Decoder| -> Tensor<1> { decoder.rewards(&trie).sum() };
        model.compare_gradients(&tiny::gradients(&model.decoder, sum));
    }
}
