//! Tiny random models for the laws, and their numbers on the host.

use burn::tensor::{Device, Tensor};
use duel::data::Key;
use duel::model::build::{Kept, Values};
use duel::model::init::Random;
use duel::model::{Activation, Architecture, Decoder, DecoderSpec, Head, Rope, RopeScaling};
use duel::text::{Chat, SpecialTokens, TokenizerFiles, train_bpe};
use duel::trainer::{Gradients, accumulate};
use duel::trie::{Sequence, Trie};
use std::collections::BTreeMap;

/// Values by parameter name.
pub type Named = BTreeMap<String, Vec<f64>>;

/// Two layers with grouped queries, biases on q, k and v, norms on the heads, and heads that are not as wide
/// together as the model: everything that the decoder can have at once.
pub fn spec() -> DecoderSpec {
    DecoderSpec {
        architecture: Architecture::Qwen3,
        vocab_size: 24,
        hidden_size: 16,
        intermediate_size: 20,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-6,
        rope: Rope {
            theta: 10_000.0,
            scaling: RopeScaling::None,
        },
        tie_word_embeddings: false,
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        qk_norm: true,
        sliding_window: None,
        full_attention_layers: Vec::new(),
        activation: Activation::Silu,
        norm_plus_one: false,
        embedding_scale: 1.0,
        query_pre_attn_scalar: 6,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        post_norms: false,
        head: Head::LanguageModel,
        pad_token_id: None,
    }
}

/// The same sizes as Gemma 2 has its layers: everything in which it differs from the others makes a difference.
pub fn gemma2() -> DecoderSpec {
    DecoderSpec {
        architecture: Architecture::Gemma2,
        tie_word_embeddings: true,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
        sliding_window: Some(4),
        full_attention_layers: vec![1],
        activation: Activation::GeluTanh,
        norm_plus_one: true,
        embedding_scale: 4.0,
        query_pre_attn_scalar: 10,
        attn_logit_softcapping: Some(2.0),
        final_logit_softcapping: Some(3.0),
        post_norms: true,
        ..spec()
    }
}

/// Normal values of a size at which every part of the model matters, norms and biases included.
struct Noise(Random);

impl Values for Noise {
    fn values(&mut self, name: &str, shape: &[usize]) -> duel::Result<Vec<f32>> {
        // Under another name, or norms and biases would come as constants.
        let noise = self.0.values(&format!("{name} noise"), shape)?;
        let width = shape[shape.len() - 1] as f32;
        let (centre, size) = match name {
            _ if name.ends_with("norm.weight") => (1.0, 0.3),
            _ if name.ends_with(".bias") => (0.0, 0.3),
            "model.embed_tokens.weight" | "lm_head.weight" => (0.0, 0.5),
            _ => (0.0, 1.5 / width.sqrt()),
        };
        Ok(noise.into_iter().map(|x| centre + size * x).collect())
    }
}

/// An untracked random decoder.
pub fn decoder(spec: &DecoderSpec, seed: u64) -> Decoder {
    decoder_on(spec, seed, &Device::flex())
}

/// The same on a device.
pub fn decoder_on(spec: &DecoderSpec, seed: u64, device: &Device) -> Decoder {
    decoder_kept(spec, seed, device, Kept::default())
}

/// The same with its matrices kept as asked.
pub fn decoder_kept(spec: &DecoderSpec, seed: u64, device: &Device, kept: Kept) -> Decoder {
    let mut noise = Noise(Random::new(Key::new(seed), 1.0));
    Decoder::build_kept(spec, &mut noise, device, kept).unwrap()
}

/// A byte-level tokenizer whose only end marker is token 0.
pub fn tokenizer() -> TokenizerFiles {
    let special = SpecialTokens {
        eos: "<|end|>".into(),
        pad: Some("<|pad|>".into()),
        ..SpecialTokens::default()
    };
    train_bpe(["a"].into_iter(), 258, &special).unwrap()
}

/// The tokenizer at work.
pub fn chat() -> Chat {
    Chat::new(&tokenizer()).unwrap()
}

/// The elements on the host.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Log-probs of a trie's targets.
pub fn token_logps(decoder: &Decoder, trie: &Trie) -> Vec<f64> {
    numbers(decoder.target_logprobs(trie).logps)
}

/// Log-prob of each sequence.
pub fn sequence_logps(decoder: &Decoder, sequences: &[Sequence]) -> Vec<f64> {
    let trie = Trie::new(sequences);
    let mut sums = vec![0.0; sequences.len()];
    for (target, logp) in trie.targets.iter().zip(token_logps(decoder, &trie)) {
        sums[target.sequence as usize] += logp;
    }
    sums
}

/// Gradients of `loss` by every parameter.
pub fn gradients(decoder: &Decoder, loss: impl Fn(&Decoder) -> Tensor<1>) -> Named {
    let tracked = decoder.clone().tracked(|_| true);
    let mut sum = Gradients::new();
    accumulate(&tracked, loss(&tracked).backward(), &mut sum);
    sum.into_iter()
        .map(|(name, gradient)| (name, numbers(gradient)))
        .collect()
}

/// All weights, bit for bit.
pub fn weights(decoder: &Decoder) -> BTreeMap<String, Vec<u32>> {
    let bits = |values: Tensor<1>| -> Vec<u32> {
        let values: Vec<f32> = values.into_data().try_into_vec().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let parameters = decoder.parameters().into_iter();
    parameters.map(|p| (p.name, bits(p.values))).collect()
}

/// The root of the sum of squares.
pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The largest difference between two lists of the same length.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// The largest difference of any gradient entry, as a share of its parameter's gradient norm. Where that is
/// below a thousandth of the whole gradient's, of that thousandth: what all but cancels out is rounding.
pub fn gradient_distance(a: &Named, b: &Named) -> f64 {
    assert!(a.keys().eq(b.keys()), "the same parameters have gradients");
    let whole = norm(&b.values().flatten().copied().collect::<Vec<f64>>());
    let share = |name: &String| distance(&a[name], &b[name]) / norm(&b[name]).max(1e-3 * whole);
    if whole == 0.0 {
        return a.values().map(|values| norm(values)).fold(0.0, f64::max);
    }
    a.keys().map(share).fold(0.0, f64::max)
}
