//! The trie, the token budget and the cache change what is computed, never the result.

use crate::tiny;
use burn::tensor::{Device, Tensor, TensorData};
use duel::model::params::Remap;
use duel::model::{Cache, Decoder, DecoderSpec, Head};
use duel::objective::{Example, Objective, Preference, Sft};
use duel::recipe::PairLoss;
use duel::trainer::evaluate;
use duel::trie::{Segment, Sequence, Target, Trie};
use duel_backends::ops::served::rounded;
use duel_backends::ops::{KeySpan, Operands, Precision, QuerySegment, Spans, linear};
use proptest::collection::vec;
use proptest::prelude::*;

/// Largest difference of a log-prob or reward, in nats. f32 sums in another order differ by this much.
const LOGPS: f64 = 5e-5;
/// Largest difference of a gradient entry, by [`tiny::gradient_distance`].
const GRADIENTS: f64 = 1e-4;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

// ---------------------------------------------------------------------------------------------------
// trie == padded == one by one
// ---------------------------------------------------------------------------------------------------

/// The same sequences as everybody else batches them: a row each, padded to the longest.
fn padded(sequences: &[Sequence]) -> Trie {
    let longest = sequences.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
    let mut batch = Trie::default();
    for (index, sequence) in sequences.iter().enumerate() {
        let start = batch.tokens.len();
        batch.tokens.extend(&sequence.tokens);
        batch.tokens.resize(start + longest, 0);
        batch.positions.extend(0..longest as u32);
        batch.segments.push(Segment {
            rows: start..start + longest,
            depth: 0,
            parent: None,
        });
        let scored = (1..sequence.tokens.len()).filter(|&i| sequence.scored[i]);
        batch.targets.extend(scored.map(|i| Target {
            row: (start + i - 1) as u32,
            token: sequence.tokens[i],
            sequence: index as u32,
        }));
        batch.last.push((start + sequence.tokens.len() - 1) as u32);
        batch.leaf.push(index);
    }
    batch
}

/// A sum that weighs every value differently, some negatively: no two gradients can be swapped unseen.
fn weighed(values: Tensor<1>, first: usize) -> Tensor<1> {
    let count = values.dims()[0];
    let weights: Vec<f32> = (first..first + count)
        .map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0)
        .collect();
    let weights = Tensor::from_data(TensorData::new(weights, [count]), &values.device());
    (values * weights).sum()
}

/// What the model computes for a batch, one number for each target or each sequence.
fn scores(decoder: &Decoder, batch: &Trie) -> Tensor<1> {
    match decoder.spec.head {
        Head::LanguageModel => decoder.target_logprobs(batch).logps,
        Head::Score => decoder.rewards(batch),
        Head::Gated => unreachable!("no tiny model here has a gate"),
    }
}

fn sum(mut a: tiny::Named, b: tiny::Named) -> tiny::Named {
    for (name, b) in b {
        let a = a.entry(name).or_insert_with(|| vec![0.0; b.len()]);
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    }
    a
}

/// Values and gradients of one batch, and of the same sequences one by one.
fn one_law(spec: &DecoderSpec, sequences: &[Sequence]) {
    let decoder = tiny::decoder(spec, 5);
    let (mut values, mut slopes) = (Vec::new(), tiny::Named::new());
    for sequence in sequences {
        let alone = Trie::new(std::slice::from_ref(sequence));
        let first = values.len();
        let gradients = tiny::gradients(&decoder, |d| weighed(scores(d, &alone), first));
        values.extend(tiny::numbers(scores(&decoder, &alone)));
        slopes = sum(slopes, gradients);
    }
    for (how, batch) in [
        ("trie", Trie::new(sequences)),
        ("padded", padded(sequences)),
    ] {
        let found = tiny::numbers(scores(&decoder, &batch));
        let error = tiny::distance(&found, &values);
        assert!(error < LOGPS, "{how}: values differ by {error}");
        let found = tiny::gradients(&decoder, |d| weighed(scores(d, &batch), 0));
        let error = tiny::gradient_distance(&found, &slopes);
        assert!(error < GRADIENTS, "{how}: gradients differ by {error}");
    }
}

fn windowed(window: Option<usize>) -> DecoderSpec {
    DecoderSpec {
        sliding_window: window,
        ..tiny::spec()
    }
}

/// Sequences over three tokens, so that prefixes are shared at every depth, duplicates included; prompts may
/// be empty, responses have one token or more, and some sequences are scored at random places.
fn forest() -> impl Strategy<Value = Vec<Sequence>> {
    let pair = (vec(0..3u32, 0..9), vec(0..3u32, 1..6))
        .prop_map(|(prompt, response)| Sequence::response(&prompt, &response));
    let patchy = vec((0..3u32, any::<bool>()), 1..12).prop_map(|tokens| {
        let (tokens, scored) = tokens.into_iter().unzip();
        Sequence { tokens, scored }
    });
    vec(prop_oneof![3 => pair, 1 => patchy], 1..8)
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn trie_padded_and_one_by_one_agree(sequences in forest(), window in prop_oneof![Just(None), Just(Some(3))]) {
        one_law(&windowed(window), &sequences);
    }

    #[test]
    fn tied_embeddings_and_rewards_agree_too(sequences in forest()) {
        one_law(&DecoderSpec { tie_word_embeddings: true, ..tiny::spec() }, &sequences);
        one_law(&DecoderSpec { head: Head::Score, ..tiny::spec() }, &sequences);
    }
}

#[test]
fn a_chain_of_prefixes_agrees() {
    let tokens: Vec<u32> = (0..24).map(|i| (i * i + 1) % 24).collect();
    let chain: Vec<Sequence> = (1..=tokens.len())
        .rev()
        .map(|n| Sequence::response(&[], &tokens[..n]))
        .collect();
    assert_eq!(Trie::new(&chain).len(), tokens.len());
    one_law(&windowed(None), &chain);
    one_law(&windowed(Some(5)), &chain);
}

/// Longer than any tile of the attention, with forks on both sides of a tile's edge.
#[test]
fn long_sequences_with_late_forks_agree() {
    let tokens = |seed: u32, n: u32| -> Vec<u32> {
        (0..n).map(|i| (i * i + seed * i + seed) % 24).collect()
    };
    let prompt = tokens(1, 130);
    let sequences: Vec<Sequence> = [
        (130, 2, 70),
        (130, 3, 5),
        (64, 4, 100),
        (63, 5, 2),
        (0, 6, 200),
    ]
    .map(|(shared, seed, n)| Sequence::response(&prompt[..shared], &tokens(seed, n)))
    .into();
    one_law(&windowed(None), &sequences);
    one_law(&windowed(Some(37)), &sequences);
}

// ---------------------------------------------------------------------------------------------------
// The token budget
// ---------------------------------------------------------------------------------------------------

#[test]
fn results_do_not_depend_on_the_token_budget() {
    let decoder = tiny::decoder(&tiny::spec(), 6);
    let rows: Vec<Example> = (0..9u32)
        .map(|i| {
            let prompt: Vec<u32> = (0..=i % 4).map(|j| (i / 3 + j) % 24).collect();
            let response = |side: u32| -> Vec<u32> {
                (0..=(i + side) % 5)
                    .map(|j| (i * 5 + side + j) % 24)
                    .collect()
            };
            Example {
                id: i.to_string(),
                sequences: vec![
                    Sequence::response(&prompt, &response(0)),
                    Sequence::response(&prompt, &response(7)),
                ],
                reference: vec![-3.0 - i as f32, -4.0],
                margin: None,
                labels: Vec::new(),
            }
        })
        .collect();
    let rows: Vec<&Example> = rows.iter().collect();
    let losses = || -> [Box<dyn Objective>; 2] {
        [
            Box::new(Sft),
            Box::new(Preference::new(PairLoss::default())),
        ]
    };
    let measure =
        |budget| losses().map(|mut loss| evaluate(&mut *loss, &decoder, &rows, budget).unwrap());
    let whole = measure(usize::MAX);
    for budget in [1, 7, 30] {
        for (found, wanted) in measure(budget).iter().zip(&whole) {
            for ((name, found), (_, wanted)) in found.iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() < 1e-5,
                    "{budget}: {name}: {found} is not {wanted}"
                );
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------
// The cache
// ---------------------------------------------------------------------------------------------------

/// Every matrix of the blocks rounded as decoding rounds it.
struct Round(Precision);

impl Remap for Round {
    fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
        if !name.ends_with("proj.weight") {
            return value;
        }
        let shape = value.dims();
        rounded(value.reshape([shape[0], shape[1]]), self.0).reshape(shape)
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// Tokens run against the cache piece by piece, from row 3 on, give the logits of one full forward pass of the
    /// weights that decoding rounds to.
    #[test]
    fn cached_decode_is_the_full_forward_pass(
        pieces in vec(vec(0..24u32, 1..9), 1..8),
        window in prop_oneof![Just(None), Just(Some(1)), Just(Some(4))],
        precision in prop_oneof![Just(Precision::F32), Just(Precision::Bf16), Just(Precision::Int8)],
    ) {
        let decoder = tiny::decoder(&windowed(window), 7);
        let served = decoder.served(precision);
        let head = rounded(decoder.output_weight(), precision);
        let exact = decoder.clone().remap(&mut Round(precision));
        let tokens = pieces.concat();
        let rows: Vec<u32> = (0..tokens.len() as u32).collect();
        let trie = Trie::new(&[Sequence::unscored(tokens.clone())]);
        let full = tiny::numbers(linear(exact.hidden(&trie, &rows), head, Operands::F32));

        let mut cache = Cache::new(&decoder.spec, tokens.len() + 3, &Device::flex());
        let mut cached = Vec::new();
        let mut before = 0;
        for piece in &pieces {
            let after = before + piece.len();
            let positions: Vec<u32> = (before as u32..after as u32).collect();
            cache.place(positions.iter().map(|p| p + 3).collect());
            let segment = QuerySegment {
                rows: 0..piece.len(),
                depth: before,
                keys: vec![KeySpan { rows: 3..3 + after, depth: 0 }],
            };
            let spans = Spans { segments: vec![segment], window };
            let all: Vec<u32> = (0..piece.len() as u32).collect();
            let logits = decoder.cached_logits(&served, piece, &positions, spans, &mut cache, &all);
            cached.extend(tiny::numbers(logits));
            before = after;
        }
        let error = tiny::distance(&cached, &full);
        prop_assert!(error < LOGPS, "{error}");
    }
}
