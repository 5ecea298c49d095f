use std::path::Path;

use crate::text::{Answer, Chat, Prompt};
use tokenizers::Tokenizer;

use super::super::gguf::tests::Builder;
use super::*;

fn convert(builder: &Builder) -> Result<TokenizerFiles> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    builder.write(&path);
    tokenizer_files(&Gguf::open(&path)?)
}

fn load(files: &TokenizerFiles) -> Tokenizer {
    files.tokenizer_json.parse().unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &str, special: bool) -> Vec<u32> {
    tokenizer.encode(text, special).unwrap().get_ids().to_vec()
}

/// Byte-level letters, three merges and two control tokens.
fn byte_level(pre: &str) -> Builder {
    let tokens = [
        "<s>",
        "<|end|>",
        "a",
        "b",
        "1",
        "2",
        "\u{120}",
        "ab",
        "\u{120}a",
        "12",
        "\u{120}\u{120}",
        "<t>",
    ];
    Builder::new("llama")
        .int("llama.context_length", 128)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &tokens)
        .ints(
            "tokenizer.ggml.token_type",
            &[3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4],
        )
        .texts(
            "tokenizer.ggml.merges",
            &["a b", "\u{120} a", "1 2", "\u{120} \u{120}"],
        )
        .int("tokenizer.ggml.bos_token_id", 0)
        .int("tokenizer.ggml.eos_token_id", 1)
        .text("tokenizer.chat_template", "{{ messages }}")
}

#[test]
fn byte_level_bpe_cuts_as_its_pre_tokenizer_says() {
    let gpt2 = load(&convert(&byte_level("gpt-2")).unwrap());
    assert_eq!(ids(&gpt2, "ab a12", false), [7, 8, 9]);
    // Single digits are words of their own for SmolLM, so blanks before one stay together.
    let smollm = load(&convert(&byte_level("smollm")).unwrap());
    assert_eq!(ids(&smollm, "ab  12", false), [7, 10, 4, 5]);
    assert_eq!(ids(&gpt2, "ab  12", false), [7, 6, 6, 9]);
    assert_eq!(
        ids(&load(&convert(&byte_level("qwen2")).unwrap()), "12", false),
        [4, 5]
    );
    assert_eq!(
        ids(
            &load(&convert(&byte_level("llama-bpe")).unwrap()),
            "12",
            false
        ),
        [9]
    );
    let error = convert(&byte_level("martian")).unwrap_err();
    assert!(error.message.contains("`martian`") && error.hint.is_some());
}

#[test]
fn control_tokens_are_special_and_user_tokens_stay_whole() {
    let files = convert(&byte_level("gpt-2")).unwrap();
    let tokenizer = load(&files);
    assert_eq!(ids(&tokenizer, "a<|end|>b<t>", false), [2, 1, 3, 11]);
    assert_eq!(tokenizer.decode(&[2, 1, 11], true).unwrap(), "a<t>");
    assert_eq!(tokenizer.get_vocab_size(true), 12);
    assert_eq!(files.eos_token_ids, [1]);
    assert_eq!(files.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!(files.tokenizer_config["eos_token"], "<|end|>");
    assert_eq!(files.tokenizer_config["model_max_length"], 128);
}

#[test]
fn a_bos_is_added_once_and_only_where_the_model_wants_one() {
    let encode = |builder: &Builder| ids(&load(&convert(builder).unwrap()), "a", true);
    assert_eq!(encode(&byte_level("gpt-2")), [2]);
    assert_eq!(
        encode(&byte_level("llama-bpe")),
        [0, 2],
        "Llama 3 adds one unless told otherwise"
    );
    assert_eq!(
        encode(&byte_level("llama-bpe").flag("tokenizer.ggml.add_bos_token", false)),
        [2]
    );
    assert_eq!(
        encode(&byte_level("gpt-2").flag("tokenizer.ggml.add_bos_token", true)),
        [0, 2]
    );
    assert_eq!(
        encode(&byte_level("gpt-2").flag("tokenizer.ggml.add_eos_token", true)),
        [2, 1]
    );
}

#[test]
fn an_end_of_turn_token_ends_generation_too() {
    let files = convert(&byte_level("gpt-2").int("tokenizer.ggml.eot_token_id", 11)).unwrap();
    assert_eq!(files.eos_token_ids, [1, 11]);
}

/// The vocabulary of tests/golden/gguf_tokenizer.py as a GGUF lists it, and what transformers makes of it.
fn sentence_piece() -> (Builder, Value) {
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/golden/gguf_tokenizer.json")).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap().clone();
    let (tokens, scores, types) = (list("tokens"), list("scores"), list("types"));
    let tokens: Vec<&str> = tokens.iter().map(|token| token.as_str().unwrap()).collect();
    let scores: Vec<f32> = scores
        .iter()
        .map(|score| score.as_f64().unwrap() as f32)
        .collect();
    let types: Vec<i32> = types
        .iter()
        .map(|kind| kind.as_i64().unwrap() as i32)
        .collect();
    let builder = Builder::new("llama")
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .floats("tokenizer.ggml.scores", &scores)
        .ints("tokenizer.ggml.token_type", &types)
        .int("tokenizer.ggml.bos_token_id", 1)
        .int("tokenizer.ggml.eos_token_id", 2)
        .int("tokenizer.ggml.unknown_token_id", 0);
    (builder, golden)
}

/// As small models are published: a tokenizer.json of SentencePiece's kind, and beside it only the end's id.
#[test]
fn a_sentence_piece_tokenizer_without_a_configuration_works() {
    let folder = tempfile::tempdir().unwrap();
    let files = convert(&sentence_piece().0).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), &files.tokenizer_json).unwrap();
    let end = "{\"eos_token_id\": 2}";
    std::fs::write(folder.path().join("generation_config.json"), end).unwrap();
    let chat = Chat::new(&TokenizerFiles::read(folder.path()).unwrap()).unwrap();
    let words = "Once upon a time, \u{e9}";
    let prompt = Prompt::Text(words.to_owned());
    let ids = chat.prompt(&prompt).unwrap();
    assert_eq!((ids[0], chat.eos_id(), chat.pad_id()), (1, 2, 2));
    assert_eq!(chat.decode(&ids, true).unwrap(), words);
    let answer = Answer::Text(" there".to_owned());
    let encoded = chat.pair(&prompt, &answer).unwrap();
    assert_eq!((encoded.prompt, encoded.answer.last()), (ids, Some(&2)));
}

/// transformers' merges recovered from scores, and the ids they give.
#[test]
fn sentence_piece_agrees_with_transformers() {
    let (builder, golden) = sentence_piece();
    let tokenizer = load(&convert(&builder).unwrap());
    for case in golden["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = case["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect();
        assert_eq!(ids(&tokenizer, text, false), expected, "{text:?}");
        assert_eq!(
            tokenizer.decode(&expected, false).unwrap(),
            case["decoded"].as_str().unwrap()
        );
    }
    assert_eq!(
        ids(&tokenizer, "hello", true)[0],
        1,
        "SentencePiece models begin with BOS"
    );
}

#[test]
fn incomplete_metadata_is_named() {
    let message = |builder: &Builder| convert(builder).unwrap_err().message;
    assert!(message(&Builder::new("llama")).contains("tokenizer.ggml.tokens"));
    let tokens = Builder::new("llama").texts("tokenizer.ggml.tokens", &["a", "b"]);
    assert!(message(&tokens).contains("(none)"));
    let llama = tokens
        .text("tokenizer.ggml.model", "llama")
        .floats("tokenizer.ggml.scores", &[0.0]);
    assert!(message(&llama).contains("2 tokens, but 1 scores"));
    assert!(
        message(&byte_level("gpt-2").ints("tokenizer.ggml.token_type", &[1]))
            .contains("1 token types")
    );
    assert!(message(&byte_level("gpt-2").texts("tokenizer.ggml.merges", &["ab"])).contains("`ab`"));
    assert!(message(&byte_level("gpt-2").text("tokenizer.ggml.model", "t5")).contains("`t5`"));
}

/// The tokenizer of the real GGUF against the one transformers made of the same file.
#[test]
#[ignore = "needs SmolLM2-135M as GGUF and as directory: DUEL_GGUF, DUEL_SMOLLM2"]
fn the_tokenizer_of_smollm2_encodes_as_transformers_does() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let files = tokenizer_files(&Gguf::open(Path::new(&variable("DUEL_GGUF"))).unwrap()).unwrap();
    let ours = load(&files);
    let theirs =
        Tokenizer::from_file(Path::new(&variable("DUEL_SMOLLM2")).join("tokenizer.json")).unwrap();
    assert_eq!(ours.get_vocab(true), theirs.get_vocab(true));
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/golden/smollm2_tokens.json")).unwrap();
    for (text, expected) in golden[0]
        .as_array()
        .unwrap()
        .iter()
        .zip(golden[1].as_array().unwrap())
    {
        let text = text.as_str().unwrap();
        let found = ids(&ours, text, true);
        assert_eq!(json!(found), *expected, "{text:?}");
        assert_eq!(ids(&theirs, text, true), found);
        assert_eq!(ours.decode(&found, false).unwrap(), text);
    }
    assert!(files.chat_template.unwrap().contains("<|im_start|>"));
    assert_eq!(
        (files.eos_token_ids, &files.tokenizer_config["pad_token"]),
        (vec![2], &json!("<|im_end|>"))
    );
}
