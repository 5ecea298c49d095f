//! Generation: greedy responses are those of full forward passes, and who else is in the batch does not
//! matter.

use crate::tiny;
use burn::tensor::Tensor;
use duel::data::Key;
use duel::generate::{Drawn, Engine, Finish, Prompted};
use duel::model::params::Remap;
use duel::model::{Decoder, DecoderSpec};
use duel::recipe::Sampling;
use duel::text::Chat;
use duel::trie::{Sequence, Trie};
use duel_backends::ops::{Operands, linear};
use std::collections::BTreeSet;

fn spec(chat: &Chat) -> DecoderSpec {
    DecoderSpec {
        vocab_size: chat.vocab_size(),
        ..tiny::spec()
    }
}

/// Prompts that share beginnings, one the beginning of another, one twice, one of a single token.
fn prompts() -> Vec<Prompted> {
    let long: Vec<u32> = (0..20).map(|i| 2 + (i * i * 13 + i) % 250).collect();
    let tokens = [
        long.clone(),
        long[..7].to_vec(),
        [&long[..7], &[200, 201]].concat(),
        [&long[..12], &[30]].concat(),
        long.clone(),
        vec![99],
        vec![5, 6, 7],
    ];
    let named = tokens.into_iter().enumerate();
    named
        .map(|(i, tokens)| Prompted {
            id: format!("p{i}"),
            tokens,
        })
        .collect()
}

fn draw(decoder: &Decoder, chat: &Chat, how: &Sampling, prompts: &[Prompted]) -> Vec<Vec<Drawn>> {
    let engine = Engine::new(decoder, chat, how);
    let mut all = Vec::new();
    let mut keep = |prompt: &Prompted, drawn| {
        assert_eq!(prompt.id, prompts[all.len()].id);
        all.push(drawn);
        Ok(())
    };
    engine.generate(prompts, Key::new(3), &mut keep).unwrap();
    all
}

/// Each token's logit and the largest logit at its place, by one full forward pass; tokens before the place are held down.
fn judged(decoder: &Decoder, prompt: &[u32], response: &[u32], penalty: f64) -> Vec<(f64, f64)> {
    let tokens = [prompt, response].concat();
    let trie = Trie::new(&[Sequence::unscored(tokens)]);
    let rows: Vec<u32> = (0..response.len())
        .map(|i| (prompt.len() - 1 + i) as u32)
        .collect();
    let logits = tiny::numbers(linear(
        decoder.hidden(&trie, &rows),
        decoder.output_weight(),
        Operands::F32,
    ));
    let vocab = decoder.spec.vocab_size;
    let of_token = |(i, &token): (usize, &u32)| {
        let mut row = logits[i * vocab..(i + 1) * vocab].to_vec();
        if let Some(cap) = decoder.spec.final_logit_softcapping {
            let cap = f64::from(cap);
            row.iter_mut()
                .for_each(|logit| *logit = cap * (*logit / cap).tanh());
        }
        let seen = prompt.iter().chain(&response[..i]);
        for id in seen.copied().collect::<BTreeSet<u32>>() {
            let logit = &mut row[id as usize];
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
        (
            row[token as usize],
            row.iter().copied().fold(f64::MIN, f64::max),
        )
    };
    response.iter().enumerate().map(of_token).collect()
}

#[test]
fn greedy_tokens_are_the_best_of_a_full_forward_pass() {
    let chat = tiny::chat();
    let (mut ends, prompts) = (0, prompts());
    let windowed = |window| DecoderSpec {
        sliding_window: window,
        ..spec(&chat)
    };
    let gemma2 = DecoderSpec {
        vocab_size: chat.vocab_size(),
        ..tiny::gemma2()
    };
    for (seed, spec) in [
        (8, windowed(None)),
        (9, windowed(Some(4))),
        (10, windowed(None)),
        (11, windowed(Some(1))),
        (12, windowed(None)),
        (13, gemma2),
    ] {
        let decoder = tiny::decoder(&spec, seed);
        let how = Sampling {
            num_generations: 2,
            temperature: vec![0.0],
            max_new_tokens: 40,
            // Both responses to a prompt are drawn from one row at first.
            repetition_penalty: [1.0, 1.7][seed as usize % 2],
            ..Sampling::default()
        };
        for (prompt, drawn) in prompts.iter().zip(draw(&decoder, &chat, &how, &prompts)) {
            assert_eq!(drawn[0], drawn[1]);
            let mut response = drawn[0].tokens.clone();
            match drawn[0].finish {
                Finish::Stop => {
                    response.push(chat.stop_ids()[0]);
                    ends += 1;
                }
                Finish::Length => assert_eq!(response.len(), how.max_new_tokens),
            }
            let judged = judged(&decoder, &prompt.tokens, &response, how.repetition_penalty);
            for (i, (logit, best)) in judged.into_iter().enumerate() {
                assert!(
                    logit >= best - 1e-5,
                    "{}: token {i}: {logit} below {best}",
                    prompt.id
                );
            }
        }
    }
    assert!(
        ends > 0,
        "some response must end by itself, or the law holds too little"
    );
}

#[test]
fn samples_do_not_depend_on_the_batch_or_the_order() {
    let chat = tiny::chat();
    let decoder = tiny::decoder(&spec(&chat), 9);
    let how = |max_tokens_per_batch| Sampling {
        num_generations: 3,
        temperature: vec![1.0, 0.7],
        top_p: 0.95,
        max_new_tokens: 16,
        max_tokens_per_batch,
        ..Sampling::default()
    };
    let prompts = prompts();
    let together = draw(&decoder, &chat, &how(usize::MAX), &prompts);
    for budget in [1, 150] {
        assert!(
            draw(&decoder, &chat, &how(budget), &prompts) == together,
            "budget {budget}"
        );
    }
    let mut backwards = prompts.clone();
    backwards.reverse();
    let mut drawn = draw(&decoder, &chat, &how(150), &backwards);
    drawn.reverse();
    assert!(drawn == together, "in the opposite order");
    let alone = draw(&decoder, &chat, &how(usize::MAX), &prompts[3..4]);
    assert!(alone[0] == together[3], "alone");
    // More rows at once than any block of a kernel takes.
    let many = Sampling {
        num_generations: 40,
        ..how(usize::MAX)
    };
    let crowd = draw(&decoder, &chat, &many, &prompts);
    let few = Sampling {
        max_tokens_per_batch: 1,
        ..many
    };
    assert!(draw(&decoder, &chat, &few, &prompts) == crowd, "280 rows");
    let differ = |drawn: &[Drawn]| {
        drawn
            .windows(2)
            .all(|pair| pair[0].tokens != pair[1].tokens)
    };
    assert!(
        together.iter().all(|drawn| differ(drawn)),
        "the samples of a prompt differ"
    );
    assert_ne!(
        together[0], together[4],
        "prompts of the same text but another id are drawn apart"
    );
}

#[test]
fn a_response_ends_where_the_model_ends() {
    let chat = tiny::chat();
    let spec = DecoderSpec {
        max_position_embeddings: 22,
        ..spec(&chat)
    };
    let decoder = tiny::decoder(&spec, 9);
    let how = Sampling {
        temperature: vec![1.0],
        ..Sampling::default()
    };
    let prompts = prompts();
    for (prompt, drawn) in prompts.iter().zip(draw(&decoder, &chat, &how, &prompts)) {
        for drawn in drawn {
            let room = 22 - prompt.tokens.len();
            assert!(drawn.tokens.len() <= room);
            assert_eq!(drawn.finish == Finish::Length, drawn.tokens.len() == room);
        }
    }
}

#[test]
fn prompts_without_room_or_without_tokens_are_refused_by_name() {
    let chat = tiny::chat();
    let spec = DecoderSpec {
        max_position_embeddings: 8,
        ..spec(&chat)
    };
    let decoder = tiny::decoder(&spec, 9);
    let how = Sampling::default();
    let engine = Engine::new(&decoder, &chat, &how);
    let refused = |tokens: Vec<u32>| {
        let prompt = Prompted {
            id: "p7".into(),
            tokens,
        };
        let error = engine
            .generate(&[prompt], Key::new(0), &mut |_, _| Ok(()))
            .unwrap_err();
        error.to_string()
    };
    assert!(refused(vec![3; 8]).starts_with("prompt p7 has 8 tokens, but the model ends at 8"));
    assert!(refused(Vec::new()).starts_with("prompt p7 has no tokens"));
}

#[test]
fn a_model_of_broken_weights_draws_nothing() {
    struct Broken;
    impl Remap for Broken {
        fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
            match name {
                "model.norm.weight" => value * f32::NAN,
                _ => value,
            }
        }
    }
    let chat = tiny::chat();
    let decoder = tiny::decoder(&spec(&chat), 9).remap(&mut Broken);
    for temperature in [0.0, 1.0] {
        let how = Sampling {
            temperature: vec![temperature],
            ..Sampling::default()
        };
        let engine = Engine::new(&decoder, &chat, &how);
        let drawn = engine.generate(&prompts()[..1], Key::new(0), &mut |_, _| Ok(()));
        let wanted = "prompt p0: the model's logits are not finite after 0 response tokens";
        assert!(drawn.unwrap_err().to_string().starts_with(wanted));
    }
}
