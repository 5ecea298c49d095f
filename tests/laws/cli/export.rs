//! `duel export`: the same weights, merged adapters, and nothing lost.
#![allow(clippy::unwrap_used)]

use super::super::tiny_files;
use super::{duel, folder};
use burn::tensor::Device;
use duel::data::Key;
use duel::model::build::Values;
use duel::model::files::{Checkpoint, StoreDtype, parameters};
use duel::model::init::Random;
use duel::model::{LoraShape, Model};
use std::fs;
use tempfile::TempDir;

#[test]
fn an_exported_model_holds_the_same_weights() {
    let folder = folder(&[]);
    let source = folder.path().join("tiny");
    tiny_files::model(&source);
    fs::write(
        source.join("generation_config.json"),
        "{\"eos_token_id\": [0, 2]}",
    )
    .unwrap();
    let said = duel(&folder, &["export", "tiny", "--out", "copy"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "copy\n"),
        "{}",
        said.err
    );
    for name in [
        "tokenizer.json",
        "chat_template.jinja",
        "generation_config.json",
    ] {
        let [before, after] =
            ["tiny", "copy"].map(|dir| fs::read(folder.path().join(dir).join(name)).unwrap());
        assert!(before == after, "{name} differs");
    }
    let [before, after] =
        ["tiny", "copy"].map(|dir| Checkpoint::open(&folder.path().join(dir)).unwrap());
    for (name, shape) in parameters(&before.spec) {
        assert!(
            before.read(&name, &shape).unwrap() == after.read(&name, &shape).unwrap(),
            "{name} differs"
        );
    }
    let said = duel(
        &folder,
        &[
            "export", "tiny", "--out", "half", "--dtype", "bf16", "--json",
        ],
    );
    assert_eq!(said.json()[0]["dtype"], "bfloat16", "{}", said.err);
    let size = |dir: &str| {
        fs::metadata(folder.path().join(dir).join("model.safetensors"))
            .unwrap()
            .len()
    };
    assert!(size("half") < size("copy") * 6 / 10);
}

#[test]
fn nothing_is_lost_by_an_export() {
    let folder = folder(&[]);
    tiny_files::model(&folder.path().join("tiny"));
    tiny_files::model(&folder.path().join("old"));
    fs::create_dir(folder.path().join("thesis")).unwrap();
    fs::write(
        folder.path().join("thesis/chapter-1.txt"),
        "It was a dark night",
    )
    .unwrap();
    let export =
        |arguments: &[&str]| duel(&folder, &[&["export", "tiny", "--out"], arguments].concat());
    for (arguments, fact) in [
        (&["old"][..], "old is not empty"),
        (
            &["thesis", "--force"],
            "thesis is not empty and holds no model",
        ),
        (
            &["tiny", "--force"],
            "tiny holds the model that is to be exported",
        ),
        (
            &[".", "--force"],
            ". holds the model that is to be exported",
        ),
        (&["thesis/chapter-1.txt"], "thesis/chapter-1.txt is a file"),
        (
            &["new", "--merge"],
            "tiny has no adapter: it is a whole model",
        ),
    ] {
        let said = export(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        assert!(
            said.err.starts_with(&format!("error: {fact}\n\nhint: ")),
            "{}",
            said.err
        );
    }
    assert!(folder.path().join("thesis/chapter-1.txt").exists());
    assert!(folder.path().join("tiny/model.safetensors").exists());
    assert!(!folder.path().join("new").exists());
    assert_eq!(export(&["old", "--force"]).code, 0);
}

/// Puts a rank-2 adapter with weights that matter beside the tiny model.
fn adapter(folder: &TempDir) -> LoraShape {
    struct Nonzero(Random);
    impl Values for Nonzero {
        fn values(&mut self, name: &str, shape: &[usize]) -> duel::Result<Vec<f32>> {
            self.0.values(&name.replace("lora_B", "lora_A"), shape)
        }
    }
    let base = folder.path().join("tiny");
    tiny_files::model(&base);
    let device: Device = duel_backends::device::open("cpu", 0).unwrap();
    let model = Model::load(&base, &device).unwrap();
    let shape = LoraShape {
        r: 2,
        alpha: 6.0,
        rank_stabilised: false,
        targets: vec!["q_proj".into(), "down_proj".into()],
    };
    let mut values = Nonzero(Random::new(Key::new(1), 0.1));
    let adapted = model.decoder.clone().adapt(&shape, &mut values).unwrap();
    let dir = folder.path().join("adapter");
    model
        .save(&dir, &adapted, Some(&shape), StoreDtype::F32)
        .unwrap();
    shape
}

#[test]
fn an_adapter_is_merged_into_its_base_or_copied() {
    let folder = folder(&[]);
    let shape = adapter(&folder);
    let said = duel(&folder, &["export", "adapter", "--merge", "--out", "whole"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let read = |dir: &str, name: &str, shape: &[usize]| {
        Checkpoint::open(&folder.path().join(dir))
            .unwrap()
            .read(name, shape)
            .unwrap()
    };
    let name = "model.layers.1.self_attn.q_proj";
    let [before, after] =
        ["tiny", "whole"].map(|dir| read(dir, &format!("{name}.weight"), &[32, 32]));
    let tensors = duel::model::files::peft::read_adapter(&folder.path().join("adapter"))
        .unwrap()
        .tensors;
    let factor = |which: &str| {
        let wanted = format!("{name}.{which}");
        tensors
            .iter()
            .find(|(name, ..)| *name == wanted)
            .expect("a factor")
            .2
            .clone()
    };
    let (a, b) = (factor("lora_A"), factor("lora_B"));
    for (row, column) in [(0, 0), (5, 17), (31, 30)] {
        let product = b[row * 2] * a[column] + b[row * 2 + 1] * a[32 + column];
        let wanted = before[row * 32 + column] + shape.scale() as f32 * product;
        let found = after[row * 32 + column];
        assert!(
            (found - wanted).abs() < 1e-6 && product.abs() > 1e-4,
            "{found} is not {wanted}"
        );
    }
    let name = "model.layers.1.self_attn.k_proj.weight";
    assert_eq!(
        read("tiny", name, &[16, 32]),
        read("whole", name, &[16, 32])
    );

    let said = duel(
        &folder,
        &["export", "adapter", "--adapter-only", "--out", "copy"],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let [before, after] =
            ["adapter", "copy"].map(|dir| fs::read(folder.path().join(dir).join(name)).unwrap());
        assert!(before == after, "{name} differs");
    }
    assert!(!folder.path().join("copy/config.json").exists());
}
