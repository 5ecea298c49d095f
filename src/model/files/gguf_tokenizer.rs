//! A GGUF's tokenizer metadata as Hugging Face's files: byte-level BPE (`gpt2`) and SentencePiece BPE with
//! byte fallback (`llama`).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::gguf::{Gguf, Metadatum};
use crate::error::{Error, Result};
use crate::text::files::TokenizerFiles;

/// Token types of llama.cpp that matter here.
const UNKNOWN: i128 = 2;
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;

/// SentencePiece's blank.
const BLANK: &str = "\u{2581}";

// How each vocabulary's training text was cut before merging; a merge never crosses a cut.
const LLAMA3_CUTS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_CUTS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_CUTS: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The lists that every tokenizer in a GGUF has.
struct Vocabulary<'a> {
    gguf: &'a Gguf,
    tokens: Vec<&'a str>,
    types: Vec<i128>,
}

/// Converts the metadata.
///
/// # Errors
/// A tokenizer model or pre-tokenizer that duel does not know; missing or inconsistent lists.
pub fn tokenizer_files(gguf: &Gguf) -> Result<TokenizerFiles> {
    let tokens = texts(gguf, "tokenizer.ggml.tokens")?;
    let types = gguf
        .list("tokenizer.ggml.token_type", integer)
        .unwrap_or_else(|| vec![1; tokens.len()]);
    if types.len() != tokens.len() {
        return Err(malformed(format!(
            "{} tokens, but {} token types",
            tokens.len(),
            types.len()
        )));
    }
    let vocabulary = Vocabulary {
        gguf,
        tokens,
        types,
    };
    let model = gguf.text("tokenizer.ggml.model").unwrap_or("(none)");
    let (parts, bos_by_default) = match model {
        "gpt2" => vocabulary.byte_level()?,
        "llama" => (vocabulary.sentence_piece()?, true),
        other => {
            return Err(Error::user(format!(
                "the tokenizer model `{other}` is not supported in GGUF files"
            ))
            .hint("use the model's Hugging Face directory, which has a tokenizer.json"));
        }
    };
    let add_bos = gguf
        .flag("tokenizer.ggml.add_bos_token")
        .unwrap_or(bos_by_default);
    let add_eos = gguf.flag("tokenizer.ggml.add_eos_token").unwrap_or(false);
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added_tokens(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": vocabulary.template(add_bos, add_eos),
        "decoder": parts.decoder,
        "model": parts.model,
    });
    Ok(TokenizerFiles {
        tokenizer_json: tokenizer.to_string(),
        tokenizer_config: vocabulary.tokenizer_config(add_bos, add_eos),
        chat_template: gguf.text("tokenizer.chat_template").map(str::to_string),
        eos_token_ids: vocabulary.end_ids(),
        originals: Vec::new(),
    })
}

/// The parts of `tokenizer.json` in which the two kinds differ.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}

impl Vocabulary<'_> {
    /// Byte-level BPE, and whether a BOS is added where the file does not say.
    fn byte_level(&self) -> Result<(Parts, bool)> {
        let merges: Vec<Value> = texts(self.gguf, "tokenizer.ggml.merges")?
            .into_iter()
            .map(|merge| {
                let (left, right) = merge
                    .split_once(' ')
                    .ok_or_else(|| malformed(format!("the merge `{merge}` has one part")))?;
                Ok(json!([left, right]))
            })
            .collect::<Result<_>>()?;
        let name = self.gguf.text("tokenizer.ggml.pre").unwrap_or("default");
        let cuts = Cuts::of(name)?;
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": cuts.whole_words, "vocab": self.vocab(), "merges": merges,
        });
        let parts = Parts {
            normalizer: if cuts.compose {
                json!({"type": "NFC"})
            } else {
                Value::Null
            },
            pre_tokenizer: cuts.pre_tokenizer,
            decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            model,
        };
        Ok((parts, cuts.bos))
    }

    /// BPE over text whose blanks are `▁`, with merges recovered from the scores; bytes for the unknown.
    fn sentence_piece(&self) -> Result<Parts> {
        let blank = json!({"type": "Replace", "pattern": {"String": " "}, "content": BLANK});
        let prefix = self
            .gguf
            .flag("tokenizer.ggml.add_space_prefix")
            .unwrap_or(true);
        let mut normalizers = vec![blank];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": BLANK}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": BLANK}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.special("unknown").or_else(|| {
            self.types
                .iter()
                .position(|&kind| kind == UNKNOWN)
                .map(|id| self.tokens[id])
        });
        Ok(Parts {
            normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
            pre_tokenizer: Value::Null,
            decoder: json!({"type": "Sequence", "decoders": decoders}),
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": self.vocab(), "merges": self.sentence_piece_merges()?,
            }),
        })
    }

    /// The merges of the file, or those the vocabulary implies: every way to make a token out of two others,
    /// best score first, as transformers' converter orders them.
    fn sentence_piece_merges(&self) -> Result<Vec<Value>> {
        if let Ok(merges) = texts(self.gguf, "tokenizer.ggml.merges") {
            return Ok(merges
                .into_iter()
                .filter_map(|merge| merge.split_once(' '))
                .map(|pair| json!(pair))
                .collect());
        }
        let scores = self
            .gguf
            .list("tokenizer.ggml.scores", float)
            .unwrap_or_default();
        if scores.len() != self.tokens.len() {
            return Err(malformed(format!(
                "{} tokens, but {} scores",
                self.tokens.len(),
                scores.len()
            )));
        }
        let ids: HashMap<&str, usize> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, &token)| (token, id))
            .collect();
        let mut merges = Vec::new();
        for (token, score) in self.tokens.iter().zip(&scores) {
            let mut splits: Vec<(&str, &str)> = token
                .char_indices()
                .skip(1)
                .map(|(at, _)| token.split_at(at))
                .filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right))
                .collect();
            splits.sort_by_key(|(left, right)| (ids[left], ids[right]));
            merges.extend(
                splits
                    .into_iter()
                    .map(|(left, right)| (*score, left, right)),
            );
        }
        let length = |text: &str| text.chars().count();
        merges.sort_by(|a, b| {
            b.0.total_cmp(&a.0)
                .then_with(|| length(b.1).cmp(&length(a.1)))
                .then_with(|| length(b.2).cmp(&length(a.2)))
        });
        Ok(merges
            .into_iter()
            .map(|(_, left, right)| json!([left, right]))
            .collect())
    }

    fn vocab(&self) -> Map<String, Value> {
        self.tokens
            .iter()
            .enumerate()
            .map(|(id, &token)| (token.to_string(), json!(id)))
            .collect()
    }

    /// Control tokens are special; user-defined ones only stay whole.
    fn added_tokens(&self) -> Vec<Value> {
        let named: Vec<Option<usize>> = ["bos", "eos", "unknown", "padding", "eot"]
            .iter()
            .map(|name| self.special_id(name))
            .collect();
        let mut added = Vec::new();
        for (id, (token, &kind)) in self.tokens.iter().zip(&self.types).enumerate() {
            let special = kind == CONTROL || kind == UNKNOWN || named.contains(&Some(id));
            if special || kind == USER_DEFINED {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special,
                }));
            }
        }
        added
    }

    /// What is put around a text when special tokens are asked for.
    fn template(&self, add_bos: bool, add_eos: bool) -> Value {
        let bos = add_bos.then(|| self.special("bos")).flatten();
        let eos = add_eos.then(|| self.special("eos")).flatten();
        let mut special = Map::new();
        for (name, token) in [("bos", bos), ("eos", eos)] {
            if let (Some(token), Some(id)) = (token, self.special_id(name)) {
                special.insert(
                    token.into(),
                    json!({"id": token, "ids": [id], "tokens": [token]}),
                );
            }
        }
        let around = |sequence: &str, kind: u8| -> Vec<Value> {
            let token = |token: &str| json!({"SpecialToken": {"id": token, "type_id": kind}});
            let mut pieces: Vec<Value> = bos.into_iter().map(token).collect();
            pieces.push(json!({"Sequence": {"id": sequence, "type_id": kind}}));
            pieces.extend(eos.into_iter().map(token));
            pieces
        };
        let pair = [around("A", 0), around("B", 1)].concat();
        json!({"type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": special})
    }

    fn tokenizer_config(&self, add_bos: bool, add_eos: bool) -> Value {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        for (key, name) in [
            ("bos", "bos"),
            ("eos", "eos"),
            ("unk", "unknown"),
            ("pad", "padding"),
        ] {
            if let Some(token) = self.special(name) {
                config.insert(format!("{key}_token"), json!(token));
            }
        }
        config.insert("add_bos_token".into(), json!(add_bos));
        config.insert("add_eos_token".into(), json!(add_eos));
        config.insert("clean_up_tokenization_spaces".into(), json!(false));
        let context = self
            .gguf
            .text("general.architecture")
            .map(|name| format!("{name}.context_length"));
        if let Some(length) = context.and_then(|key| self.gguf.integer(&key)) {
            config.insert("model_max_length".into(), json!(length));
        }
        Value::Object(config)
    }

    /// Generation ends at the end of sequence and, where a model has one, at the end of turn.
    fn end_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::new();
        for id in ["eos", "eot"]
            .iter()
            .filter_map(|name| self.special_id(name))
        {
            if let Ok(id) = u32::try_from(id)
                && !ids.contains(&id)
            {
                ids.push(id);
            }
        }
        ids
    }

    fn special_id(&self, name: &str) -> Option<usize> {
        self.gguf
            .integer(&format!("tokenizer.ggml.{name}_token_id"))
            .filter(|&id| id < self.tokens.len())
    }

    fn special(&self, name: &str) -> Option<&str> {
        self.special_id(name).map(|id| self.tokens[id])
    }
}

/// What llama.cpp's name of a pre-tokenizer stands for.
struct Cuts {
    pre_tokenizer: Value,
    /// Unicode composition comes first.
    compose: bool,
    /// A word that is a token is taken whole, whatever the merges say.
    whole_words: bool,
    /// A BOS is added where the file does not say.
    bos: bool,
}

impl Cuts {
    fn of(name: &str) -> Result<Self> {
        let plain = |pre_tokenizer| Self {
            pre_tokenizer,
            compose: false,
            whole_words: false,
            bos: false,
        };
        Ok(match name {
            "default" | "gpt-2" | "olmo" | "jais" | "phi-2" => plain(byte_level(true)),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" => {
                plain(sequence(vec![
                    json!({"type": "Digits", "individual_digits": true}),
                    byte_level(true),
                ]))
            }
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "pixtral" => Self {
                whole_words: true,
                bos: true,
                ..plain(split(LLAMA3_CUTS))
            },
            "smaug-bpe" | "dbrx" => plain(split(LLAMA3_CUTS)),
            "qwen2" | "deepseek-r1-qwen" | "megrez" => Self {
                compose: true,
                ..plain(split(QWEN2_CUTS))
            },
            "tekken" => Self {
                whole_words: true,
                bos: true,
                ..plain(split(TEKKEN_CUTS))
            },
            other => {
                return Err(Error::user(format!(
                    "the pre-tokenizer `{other}` (tokenizer.ggml.pre) is not known"
                ))
                .hint("use the model's Hugging Face directory, which has a tokenizer.json"));
            }
        })
    }
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn split(cuts: &str) -> Value {
    sequence(vec![
        json!({"type": "Split", "pattern": {"Regex": cuts}, "behavior": "Isolated", "invert": false}),
        byte_level(false),
    ])
}

fn sequence(pre_tokenizers: Vec<Value>) -> Value {
    json!({"type": "Sequence", "pretokenizers": pre_tokenizers})
}

fn texts<'a>(gguf: &'a Gguf, key: &str) -> Result<Vec<&'a str>> {
    let text = |value: &'a Metadatum| match value {
        Metadatum::Text(text) => Some(text.as_str()),
        _ => None,
    };
    gguf.list(key, text)
        .ok_or_else(|| malformed(format!("no list of strings `{key}`")))
}

fn integer(value: &Metadatum) -> Option<i128> {
    match value {
        Metadatum::Int(value) => Some(*value),
        _ => None,
    }
}

fn float(value: &Metadatum) -> Option<f32> {
    match value {
        Metadatum::Float(value) => Some(*value),
        _ => None,
    }
}

fn malformed(what: String) -> Error {
    Error::data(format!(
        "the tokenizer in the metadata is incomplete: {what}"
    ))
    .hint("use the model's Hugging Face directory, or convert the model again")
}

#[cfg(test)]
#[path = "gguf_tokenizer_tests.rs"]
mod tests;
