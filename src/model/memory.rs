//! What a decoder takes in memory, from its spec alone, term by term. Everything is f32 but for frozen weights that are
//! kept in another format.
//!
//! Letters: `h` hidden, `i` intermediate, `q` = heads x head width, `k` = key heads x head width, `V` vocabulary,
//! `L` blocks, `P` parameters. The terms are those of the fused ops: a device that computes with the plain bodies
//! holds more for attention and the head.

use super::build::{Kept, LoraShape};
use super::cache::Cache;
use super::files::parameters;
use super::spec::{DecoderSpec, Head};
use duel_backends::ops::adamw_8bit::BLOCK;
use duel_backends::ops::nf4;
use duel_backends::ops::target_logprobs::CHUNK;

/// Bytes of a number.
const F32: u64 = 4;

/// The program itself, its threads' buffers, the tokenizer and the rows, with [`HOLES`] fitted to measured peaks.
const PROGRAM: u64 = 72 << 20;

/// Blocks that are freed leave holes: the measured peaks of trainings of 2 to 16 pairs a step, with and without
/// adapters, lie 4 to 8 % over the sum of what is alive and the program.
const HOLES: f64 = 1.07;

/// What a process that holds these bytes at once will show as its resident memory.
pub fn resident(alive: u64) -> u64 {
    PROGRAM + (alive as f64 * HOLES) as u64
}

/// What a process will show while it loads a model: the weights as they are kept, and the largest of them once more as it
/// lies in the file and as it was read, in f32. Where pages of a file cannot be given back, the whole file.
pub fn loading(spec: &DecoderSpec, kept: Kept) -> u64 {
    let size = |shape: &[usize]| shape.iter().map(|&n| n as u64).product::<u64>();
    let shapes = parameters(spec).into_iter();
    let largest = shapes.map(|(_, shape)| size(&shape)).max();
    let read = match cfg!(unix) {
        true => 2 * largest.unwrap_or_default(),
        false => parameter_count(spec),
    };
    PROGRAM + weights(spec, kept) + F32 * read
}

/// Bytes of all weights as they are kept; those of norms and biases are f32 in any case.
pub fn weights(spec: &DecoderSpec, kept: Kept) -> u64 {
    let all = parameter_count(spec);
    let blocks = block_matrices(spec);
    let tied = spec.tie_word_embeddings || spec.head != Head::LanguageModel;
    let tables = (spec.vocab_size * spec.hidden_size) as u64 * if tied { 1 } else { 2 };
    let whole = match kept.frozen {
        true => kept.operands.bytes() as u64,
        false => F32,
    };
    let of_blocks = match kept.packed {
        true => (blocks as f64 * nf4::BYTES_PER_WEIGHT) as u64,
        false => blocks * whole,
    };
    of_blocks + tables * whole + (all - blocks - tables) * F32
}

/// Bytes of the largest matrix of a block, which a product makes whole out of 4 bits for as long as it runs.
fn unpacked(spec: &DecoderSpec, kept: Kept) -> u64 {
    let largest = matrices(spec).map(|(_, out, input)| out * input).max();
    match kept.packed {
        true => largest.unwrap_or_default() * kept.operands.bytes() as u64,
        false => 0,
    }
}

/// Numbers in all parameters: `P`.
pub fn parameter_count(spec: &DecoderSpec) -> u64 {
    let size = |shape: Vec<usize>| shape.iter().map(|&n| n as u64).product::<u64>();
    parameters(spec)
        .into_iter()
        .map(|(_, shape)| size(shape))
        .sum()
}

/// Numbers in the matrices of the blocks: each token is multiplied with every one of them, once.
pub fn block_matrices(spec: &DecoderSpec) -> u64 {
    matrices(spec).map(|(_, out, input)| out * input).sum()
}

/// Numbers in the matrix of the head, `V h`; 0 for a model that scores.
pub fn head_matrix(spec: &DecoderSpec) -> u64 {
    match spec.head {
        Head::LanguageModel => (spec.vocab_size * spec.hidden_size) as u64,
        Head::Score | Head::Gated => 0,
    }
}

/// Numbers in an adapter: `r (in + out)` for each matrix that gets one.
pub fn adapter_count(spec: &DecoderSpec, lora: &LoraShape) -> u64 {
    matrices(spec)
        .filter(|(module, _, _)| lora.targets.contains(module))
        .map(|(_, out, input)| lora.r as u64 * (out + input))
        .sum()
}

/// The matrices of all blocks: last part of the name, rows, columns.
fn matrices(spec: &DecoderSpec) -> impl Iterator<Item = (String, u64, u64)> {
    parameters(spec).into_iter().filter_map(|(name, shape)| {
        let module = name
            .strip_prefix("model.layers.")?
            .strip_suffix(".weight")?;
        let last = module.rsplit('.').next()?.to_owned();
        match shape[..] {
            [out, input] => Some((last, out as u64, input as u64)),
            _ => None,
        }
    })
}

/// Bytes that one token leaves behind for the backward pass.
pub fn kept_per_token(spec: &DecoderSpec, lora: Option<&LoraShape>) -> u64 {
    let (h, i) = (spec.hidden_size, spec.intermediate_size);
    let q = spec.num_attention_heads * spec.head_dim;
    let k = spec.num_key_value_heads * spec.head_dim;
    // A linear layer keeps its input where something beside it is trained; layers that read the same input share it.
    let input_of = |modules: &[&str], width: usize| {
        let trains = |lora: &LoraShape| modules.iter().any(|m| lora.targets.iter().any(|t| t == m));
        if lora.is_none_or(trains) { width } else { 0 }
    };
    let norms = 2 * h;
    let projections = input_of(&["q_proj", "k_proj", "v_proj"], h);
    let head_norms = if spec.qk_norm { q + k } else { 0 };
    // Turned q and k, v, the mixed values (which o_proj reads too), and a log-sum for each head.
    let attention = q + 2 * k + q + spec.num_attention_heads;
    let mlp = input_of(&["gate_proj", "up_proj"], h) + 2 * i + input_of(&["down_proj"], i);
    let block = norms + projections + head_norms + attention + mlp;
    let narrow = lora.map_or(0, |lora| lora.r * lora.targets.len());
    spec.num_hidden_layers as u64 * (block + narrow) as u64 * F32
}

/// Bytes that one token leaves behind where the blocks are computed again: what went into each, `L h`.
fn inputs_per_token(spec: &DecoderSpec) -> u64 {
    (spec.num_hidden_layers * spec.hidden_size) as u64 * F32
}

/// Bytes of the activations of one block and the residual stream, which a pass without gradients holds a token.
fn passing_per_token(spec: &DecoderSpec) -> u64 {
    (2 * spec.hidden_size + 3 * spec.intermediate_size) as u64 * F32
}

/// Bytes that the head takes for its targets: hidden states before and after the norm, and one chunk of logits.
fn head(spec: &DecoderSpec, targets: u64) -> u64 {
    match spec.head {
        Head::LanguageModel => {
            targets * (2 * spec.hidden_size + CHUNK.min(spec.vocab_size)) as u64 * F32
        }
        Head::Score | Head::Gated => targets * 2 * spec.hidden_size as u64 * F32,
    }
}

/// What one micro-batch holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens of its trie.
    pub tokens: u64,
    /// Positions whose next token is scored, or sequences that are pooled.
    pub targets: u64,
    /// A step has more micro-batches than one: their gradients are summed.
    pub accumulated: bool,
    /// A checkpoint is written on the way.
    pub saved: bool,
    /// The backward pass computes the blocks again, one at a time.
    pub recomputed: bool,
    /// The moments have 8 bits each.
    pub packed: bool,
}

/// Bytes of a training, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Training {
    /// The frozen weights under an adapter, as they are kept: `4 P` in f32.
    pub start: u64,
    /// What is trained: all weights, or an adapter.
    pub weights: u64,
    /// AdamW's two moments of what is trained.
    pub moments: u64,
    /// Gradients of what is trained, and the sum of earlier micro-batches' where there are some.
    pub gradients: u64,
    /// What the micro-batch keeps for the backward pass, with the head's share.
    pub activations: u64,
    /// Most bytes alive at one time.
    pub peak: u64,
}

/// What it takes to train a decoder, all of it or (with `lora`) an adapter over it.
///
/// Start, weights and moments live through a step. Then the peak is the largest of three moments: the end of the
/// forward pass (all activations, no gradient of this micro-batch yet), the end of the backward pass (the reverse),
/// and a checkpoint being written (weights and moments once more on the host, activations and gradients gone).
pub fn training(
    spec: &DecoderSpec,
    lora: Option<&LoraShape>,
    batch: Batch,
    kept: Kept,
) -> Training {
    let start = match lora {
        Some(_) => weights(spec, kept),
        None => 0,
    };
    let embedding = F32 * (spec.vocab_size * spec.hidden_size) as u64;
    let score = if spec.head == Head::Score {
        spec.hidden_size as u64
    } else {
        0
    };
    let weights = match lora {
        Some(lora) => F32 * (adapter_count(spec, lora) + score),
        None => F32 * parameter_count(spec),
    };
    let summed = if batch.accumulated { weights } else { 0 };
    let whole_head = lora.is_none() && spec.head == Head::LanguageModel;
    let of_head = if whole_head { embedding } else { 0 };
    let a_token = match batch.recomputed {
        true => inputs_per_token(spec) + kept_per_token(spec, lora) / spec.num_hidden_layers as u64,
        false => kept_per_token(spec, lora),
    };
    let activations = batch.tokens * a_token + head(spec, batch.targets) + unpacked(spec, kept);
    let forward = activations + of_head;
    let backward = weights;
    let saving = match (batch.saved, batch.packed) {
        (false, _) => 0,
        (true, false) => 3 * weights,
        // Both codes of a weight are written as one number.
        (true, true) => 2 * weights,
    };
    let moments = match batch.packed {
        // A code for each weight, and a scale for each block of them.
        true => 2 * weights / 4 + 2 * weights / BLOCK as u64,
        false => 2 * weights,
    };
    let held = start + weights + moments;
    Training {
        start,
        weights,
        moments,
        gradients: weights + summed,
        activations,
        peak: held + saving.max(summed + forward.max(backward)),
    }
}

/// Most bytes alive while a decoder computes a batch without gradients.
pub fn scoring(spec: &DecoderSpec, batch: Batch, kept: Kept) -> u64 {
    let activations = batch.tokens * passing_per_token(spec) + head(spec, batch.targets);
    weights(spec, kept) + unpacked(spec, kept) + activations
}

/// Bytes of drawing responses, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Drawing {
    /// The model as it was loaded.
    pub weights: u64,
    /// Its matrices once more, as decoding reads them.
    pub served: u64,
    /// Keys and values of everything that was read and written.
    pub cache: u64,
    /// The logits of one token of each response, before and after a repetition penalty.
    pub logits: u64,
    /// Most bytes alive at one time.
    pub peak: u64,
}

/// Bytes of all matrices as decoding reads them, beside the weights.
pub fn served(spec: &DecoderSpec, bytes_per_weight: f64) -> u64 {
    ((block_matrices(spec) + head_matrix(spec)) as f64 * bytes_per_weight) as u64
}

/// What it takes to draw `live` responses together over a cache of `rows` tokens, with matrices of `bytes_per_weight`:
/// the most is alive either while the output head is laid out or at the last token.
pub fn drawing(
    spec: &DecoderSpec,
    rows: u64,
    live: u64,
    bytes_per_weight: f64,
    kept: Kept,
) -> Drawing {
    let weights = weights(spec, kept);
    let served = served(spec, bytes_per_weight);
    let cache = Cache::bytes(spec, rows as usize) as u64;
    let logits = 2 * live * spec.vocab_size as u64 * F32;
    let laid_out = F32 * head_matrix(spec);
    Drawing {
        weights,
        served,
        cache,
        logits,
        peak: weights + served + laid_out.max(cache + logits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::files::config::HfConfig;
    use serde_json::json;

    /// SmolLM2-135M.
    fn smollm2() -> DecoderSpec {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
            "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
            "tie_word_embeddings": true,
        });
        HfConfig::from_value(config).unwrap().resolve().unwrap()
    }

    fn adapter() -> LoraShape {
        LoraShape {
            r: 16,
            alpha: 32.0,
            rank_stabilised: false,
            targets: crate::recipe::Lora::MODULES.map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn counts_are_those_that_other_tools_print() {
        let spec = smollm2();
        // transformers' num_parameters(), and PEFT's print_trainable_parameters() for r = 16 on all seven matrices.
        assert_eq!(parameter_count(&spec), 134_515_008);
        assert_eq!(adapter_count(&spec, &adapter()), 4_884_480);
        let embeddings = head_matrix(&spec);
        let norms = (2 * 30 + 1) * 576;
        assert_eq!(block_matrices(&spec) + embeddings + norms, 134_515_008);
    }

    /// `duel bench KIND --pairs N --steps 1 --warm 1` on SmolLM2-135M and real pairs, two threads: tokens of the step,
    /// scored ones among them, and `peak_rss_mib`.
    #[test]
    fn the_estimate_is_close_to_what_was_measured() {
        let (spec, lora) = (smollm2(), adapter());
        let scored = DecoderSpec {
            head: Head::Score,
            ..spec.clone()
        };
        let measured = [
            (&spec, None, 503, 180, 2452.0),
            (&spec, None, 2336, 1456, 4305.0),
            (&spec, Some(&lora), 503, 180, 1196.0),
            (&spec, Some(&lora), 2336, 1456, 3202.0),
            (&scored, None, 2336, 32, 4185.0),
            (&spec, None, 441, 437, 2391.0),
        ];
        for (spec, lora, tokens, targets, mib) in measured {
            let batch = Batch {
                tokens,
                targets,
                ..Batch::default()
            };
            let estimate = resident(training(spec, lora, batch, Kept::default()).peak) as f64
                / f64::from(1 << 20);
            assert!(
                (estimate / mib - 1.0).abs() < 0.1,
                "{tokens} tokens: {estimate:.0}, measured {mib} MiB"
            );
        }
    }

    #[test]
    fn an_adapter_saves_gradients_and_moments_but_no_activations() {
        let spec = smollm2();
        let batch = Batch {
            tokens: 1000,
            targets: 400,
            ..Batch::default()
        };
        let (all, lora) = (
            training(&spec, None, batch, Kept::default()),
            training(&spec, Some(&adapter()), batch, Kept::default()),
        );
        assert!(lora.activations >= all.activations);
        assert_eq!(lora.moments, 2 * 4 * 4_884_480);
        assert!(lora.peak * 3 < all.peak * 2, "{lora:?} {all:?}");
    }

    #[test]
    fn each_of_the_three_moments_can_be_the_peak() {
        let spec = smollm2();
        let peak = |tokens, accumulated, saved| {
            let batch = Batch {
                tokens,
                targets: tokens / 3,
                accumulated,
                saved,
                ..Batch::default()
            };
            training(&spec, None, batch, Kept::default()).peak
        };
        let weights = 4 * parameter_count(&spec);
        assert_eq!(
            peak(1, false, false),
            peak(100, false, false),
            "gradients decide"
        );
        assert!(
            peak(4000, false, false) > peak(3900, false, false),
            "activations decide"
        );
        assert_eq!(
            peak(1, false, true),
            6 * weights,
            "the copies on the host decide"
        );
        assert_eq!(peak(4000, true, true), peak(4000, false, false) + weights);
    }

    #[test]
    fn blocks_that_are_computed_again_keep_their_inputs_alone() {
        let spec = smollm2();
        let activations = |recomputed| {
            let batch = Batch {
                tokens: 1000,
                recomputed,
                ..Batch::default()
            };
            training(&spec, None, batch, Kept::default()).activations
        };
        let block = kept_per_token(&spec, None) / 30;
        assert_eq!(activations(false), 1000 * 30 * block);
        assert_eq!(activations(true), 1000 * (30 * 4 * 576 + block));
    }

    #[test]
    fn layers_without_an_adapter_keep_no_input() {
        let spec = smollm2();
        let mut queries = adapter();
        let all = kept_per_token(&spec, Some(&queries));
        queries.targets = vec!["q_proj".into()];
        let some = kept_per_token(&spec, Some(&queries));
        assert_eq!(all - some, 4 * 30 * (576 + 1536 + 6 * 16));
    }
}
