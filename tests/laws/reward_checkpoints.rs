//! Published reward models by their real tensor names: tiny ones that transformers wrote, against its logits (goldens
//! by tests/golden/make_reward_checkpoints.py).

use crate::tiny;
use burn::tensor::Device;
use duel::model::Decoder;
use duel::model::build::Values;
use duel::model::files::{Checkpoint, NamedTensor, StoreDtype, write_safetensors};
use duel::trie::{Sequence, Trie};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ALL: [&str; 6] = [
    "llama-own-pad",
    "llama-pad-is-end",
    "mistral-no-pad",
    "gemma",
    "qwen2",
    "qwen3",
];

struct FromFiles(Checkpoint);

impl Values for FromFiles {
    fn values(&mut self, name: &str, shape: &[usize]) -> duel::Result<Vec<f32>> {
        self.0.read(name, shape)
    }
}

fn folder(name: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reward_checkpoints");
    golden.join(name)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn sequences(name: &str) -> Vec<Sequence> {
    let golden = json_of(&folder(name).join("golden.json"));
    let ids: Vec<Vec<u32>> = serde_json::from_value(golden["sequences"].clone()).unwrap();
    ids.into_iter().map(Sequence::unscored).collect()
}

fn logits(name: &str) -> Vec<f64> {
    let golden = json_of(&folder(name).join("golden.json"));
    serde_json::from_value(golden["logits"].clone()).unwrap()
}

/// What duel makes of the files in `folder`.
fn rewards(folder: &Path, trie: &Trie) -> Vec<f64> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let spec = checkpoint.spec.clone();
    let decoder = Decoder::build(&spec, &mut FromFiles(checkpoint), &Device::flex()).unwrap();
    tiny::numbers(decoder.rewards(trie))
}

/// A copy of a checkpoint whose config `change` has gone over.
fn changed(name: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = copy.path().join("config.json");
    let mut config = json_of(&path);
    change(config.as_object_mut().unwrap());
    fs::write(path, config.to_string()).unwrap();
    copy
}

#[test]
fn every_layout_scores_as_transformers_does_whatever_its_neighbours_in_the_batch() {
    for name in ALL {
        let (sequences, logits) = (sequences(name), logits(name));
        let together = rewards(&folder(name), &Trie::new(&sequences));
        let error = tiny::distance(&together, &logits);
        assert!(error < 1e-4, "{name}: {error}");
        for (sequence, logit) in sequences.iter().zip(logits) {
            let alone = rewards(&folder(name), &Trie::new(std::slice::from_ref(sequence)));
            assert!((alone[0] - logit).abs() < 1e-4, "{name}: {alone:?} {logit}");
        }
    }
}

/// The files differ in what published models differ in: else one passing would be all passing.
#[test]
fn the_checkpoints_are_sharded_or_not_and_in_both_short_types() {
    let read = |name: &str, file: &str| json_of(&folder(name).join(file));
    let sharded = |name: &&str| folder(name).join("model.safetensors.index.json").exists();
    assert_eq!(
        ALL.iter().filter(|name| sharded(name)).collect::<Vec<_>>(),
        [&"llama-own-pad", &"qwen3"]
    );
    assert_eq!(read("llama-pad-is-end", "config.json")["dtype"], "float16");
    assert_eq!(read("mistral-no-pad", "config.json")["dtype"], "bfloat16");
    let pads = ALL.map(|name| {
        let config = read(name, "config.json");
        (
            config["pad_token_id"].as_u64(),
            config["eos_token_id"].as_u64(),
        )
    });
    assert_eq!(
        pads[..3],
        [(Some(63), Some(2)), (Some(2), Some(2)), (None, Some(2))]
    );
}

/// R#49: with the pad token for the end of a turn, pooling at the first one gives every response the score of its prompt.
#[test]
fn r49_a_pad_token_that_ends_turns_does_not_move_the_score_into_the_prompt() {
    let name = "llama-pad-is-end";
    let ends = |ids: &[u32]| -> Sequence { Sequence::unscored(ids.to_vec()) };
    let prompt = [1, 10, 11, 2];
    let chosen = [&prompt[..], &[20, 21, 22, 2]].concat();
    let rejected = [&prompt[..], &[30, 31, 2]].concat();
    let scores = rewards(&folder(name), &Trie::new(&[ends(&chosen), ends(&rejected)]));
    assert!((scores[0] - scores[1]).abs() > 0.1, "{scores:?}");
    // At the token before the end, as transformers 5 has it.
    let before = rewards(
        &folder(name),
        &Trie::new(&[ends(&chosen[..7]), ends(&rejected[..6])]),
    );
    assert!(tiny::distance(&scores, &before) < 1e-5);
    // More padding behind it changes nothing.
    let padded = rewards(
        &folder(name),
        &Trie::new(&[ends(&[&chosen[..], &[2, 2, 2]].concat())]),
    );
    assert!((padded[0] - scores[0]).abs() < 1e-5);
}

#[test]
fn a_config_of_transformers_4_and_one_that_counts_no_labels_say_the_same() {
    let name = "llama-own-pad";
    let trie = Trie::new(&sequences(name));
    let wanted = rewards(&folder(name), &trie);
    let old = changed(name, |config| {
        config.remove("rope_parameters");
        config.remove("dtype");
        config.insert("rope_theta".into(), json!(500000.0));
        config.insert("rope_scaling".into(), json!(null));
        config.insert("torch_dtype".into(), json!("bfloat16"));
        config.insert("num_labels".into(), json!(1));
    });
    assert_eq!(rewards(old.path(), &trie), wanted);
    let uncounted = changed(name, |config| {
        config.remove("id2label");
        config.remove("label2id");
    });
    assert_eq!(rewards(uncounted.path(), &trie), wanted);
}

/// Every tensor of a checkpoint, read back to be written otherwise.
fn tensors(name: &str) -> Vec<NamedTensor> {
    let checkpoint = Checkpoint::open(&folder(name)).unwrap();
    let read = |name: String| {
        let shape = checkpoint.shape(&name).unwrap();
        let values = checkpoint.read(&name, &shape).unwrap();
        (name, shape, values)
    };
    checkpoint.names().into_iter().map(read).collect()
}

#[test]
fn a_head_of_another_name_or_size_is_named_in_the_error() {
    let name = "mistral-no-pad";
    let copy = changed(name, |config| {
        config.remove("id2label");
    });
    let refused = |tensors: &[NamedTensor]| {
        let file = copy.path().join("model.safetensors");
        write_safetensors(&file, tensors, StoreDtype::F32).unwrap();
        let error = Checkpoint::open(copy.path()).unwrap_err();
        error.to_string()
    };
    let with_head = |heads: &[(&str, usize)]| {
        let mut all = tensors(name);
        all.retain(|(name, _, _)| name != "score.weight");
        for &(name, labels) in heads {
            all.push((name.to_owned(), vec![labels, 16], vec![0.5; labels * 16]));
        }
        all
    };
    // As PEFT before 0.3 merged a classifier.
    let both = [
        ("score.original_module.weight", 1),
        ("score.modules_to_save.default.weight", 1),
    ];
    let said = refused(&with_head(&both));
    assert!(said.contains("no tensor `score.weight`"), "{said}");
    assert!(
        said.contains("`score.modules_to_save.default.weight`"),
        "{said}"
    );
    let said = refused(&with_head(&[("v_head.weight", 1)]));
    assert!(said.contains("`v_head.weight`"), "{said}");
    let said = refused(&with_head(&[]));
    assert!(said.contains("the weights hold none"), "{said}");
    let said = refused(&with_head(&[("score.weight", 2)]));
    assert!(
        said.contains("has 2 labels; a reward model has one"),
        "{said}"
    );
}
