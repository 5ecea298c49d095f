//! Products in bf16, and frozen weights in 4 bits.

use crate::fitting::{all, dpo, fit, pairs, train};
use crate::tiny;
use burn::tensor::Device;
use duel::data::Key;
use duel::model::build::{Kept, Values};
use duel::model::init::Random;
use duel::model::params::is_adapter;
use duel::model::{Decoder, LoraShape};
use duel::recipe::loss::LossType;
use duel::trie::Trie;
use duel_backends::ops::Operands;

const PACKED: Kept = Kept {
    operands: Operands::F32,
    frozen: true,
    packed: true,
};

/// The weights of a decoder, by name.
struct Copied<'a>(&'a Decoder);

impl Values for Copied<'_> {
    fn values(&mut self, name: &str, _shape: &[usize]) -> duel::Result<Vec<f32>> {
        let parameter = self.0.parameters().into_iter().find(|p| p.name == name);
        let values = parameter.expect("there is one of this name").values;
        Ok(values.into_data().iter::<f32>().collect())
    }
}

/// A decoder in 4 bits, and one in f32 of what those stand for, under the same adapter.
fn packed_and_whole() -> [Decoder; 2] {
    let (spec, device) = (tiny::spec(), Device::flex());
    let packed = tiny::decoder_kept(&spec, 51, &device, PACKED);
    let shape = LoraShape {
        r: 4,
        alpha: 8.0,
        rank_stabilised: false,
        targets: ["q_proj", "v_proj", "down_proj"]
            .map(str::to_owned)
            .to_vec(),
    };
    // Merging makes a layer whole: of an adapter of zeros nothing is left but the weight.
    let everywhere = LoraShape {
        targets: duel::recipe::Lora::MODULES.map(str::to_owned).to_vec(),
        ..shape.clone()
    };
    let mut nothing = Random::new(Key::new(1), 0.0);
    let merged = packed
        .clone()
        .adapt(&everywhere, &mut nothing)
        .unwrap()
        .merged();
    let whole = Decoder::build(&spec, &mut Copied(&merged), &device).unwrap();
    [packed, whole].map(|decoder| {
        decoder
            .adapt(&shape, &mut Random::new(Key::new(2), 0.02))
            .unwrap()
    })
}

#[test]
fn an_adapter_over_four_bits_learns_as_over_the_weights_that_they_stand_for() {
    let trie = Trie::new(&pairs(3)[0].sequences);
    let [packed, whole] = packed_and_whole();
    let logps = |decoder: &Decoder| tiny::token_logps(decoder, &trie);
    assert!(tiny::distance(&logps(&packed), &logps(&whole)) < 1e-5);
    let untouched = tiny::token_logps(&tiny::decoder(&tiny::spec(), 51), &trie);
    assert!(
        tiny::distance(&logps(&packed), &untouched) > 1e-2,
        "nothing was rounded"
    );
    let losses = [packed, whole].map(|decoder| {
        let trained = fit(
            decoder.tracked(is_adapter),
            dpo(LossType::Sigmoid),
            &pairs(8),
            &train(20),
            None,
        );
        let losses = trained.curve("loss");
        let decoder = trained.decoder.unwrap();
        let learnt: Vec<String> = decoder
            .parameters()
            .into_iter()
            .filter_map(|p| p.trained.then_some(p.name))
            .collect();
        assert!(!learnt.is_empty() && learnt.iter().all(|name| is_adapter(name)));
        losses
    });
    assert!(tiny::distance(&losses[0], &losses[1]) < 1e-4, "{losses:?}");
    assert!(losses[0][19] < losses[0][0], "{losses:?}");
}

#[test]
fn a_model_in_four_bits_has_no_parameters_but_those_that_may_be_trained_or_saved() {
    let packed = tiny::decoder_kept(&tiny::spec(), 51, &Device::flex(), PACKED);
    let names: Vec<String> = packed.parameters().into_iter().map(|p| p.name).collect();
    assert!(names.contains(&"model.embed_tokens.weight".to_owned()));
    assert!(names.contains(&"model.layers.0.self_attn.q_proj.bias".to_owned()));
    assert!(!names.contains(&"model.layers.0.self_attn.q_proj.weight".to_owned()));
    let whole = tiny::decoder(&tiny::spec(), 51);
    assert_eq!(
        packed.parameter_counts().0,
        whole.parameter_counts().0,
        "but they are counted"
    );
}

#[test]
fn training_in_bf16_follows_training_in_f32_and_learns_numbers_that_bf16_has_not() {
    let curve = |operands| {
        let kept = Kept {
            operands,
            ..Kept::default()
        };
        let decoder = tiny::decoder_kept(&tiny::spec(), 52, &Device::flex(), kept);
        let trained = fit(
            all(&decoder),
            dpo(LossType::Sigmoid),
            &pairs(8),
            &train(20),
            None,
        );
        let losses = trained.curve("loss");
        (losses, trained.weights())
    };
    let (in_f32, _) = curve(Operands::F32);
    let (in_bf16, weights) = curve(Operands::Bf16);
    let far = tiny::distance(&in_f32, &in_bf16);
    assert!(far > 0.0 && far < 0.05, "{in_f32:?} {in_bf16:?}");
    let low_bits = weights
        .values()
        .flatten()
        .filter(|bits| **bits & 0xffff != 0);
    let all = weights.values().flatten().count();
    assert!(low_bits.count() > all / 2, "weights were rounded");
}
