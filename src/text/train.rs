//! A tokenizer of one's own: byte-level BPE, learned from text.

use super::files::TokenizerFiles;
use crate::error::{Error, Result};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, NormalizerWrapper, PostProcessorWrapper, TokenizerBuilder, TokenizerImpl,
};

/// The special tokens of a new tokenizer. They get the first ids: end of text, beginning, padding, others.
#[derive(Debug, Clone, Default)]
pub struct SpecialTokens {
    /// Ends a text, and a turn where the template says so.
    pub eos: String,
    /// Begins a text.
    pub bos: Option<String>,
    /// Fills batches up; `eos` does where there is none.
    pub pad: Option<String>,
    /// Further ones, such as the marks of turns.
    pub others: Vec<String>,
}

impl SpecialTokens {
    fn all(&self) -> Vec<AddedToken> {
        let mut names: Vec<&String> = Vec::new();
        let first = [Some(&self.eos), self.bos.as_ref(), self.pad.as_ref()];
        for name in first.into_iter().flatten().chain(&self.others) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
            .into_iter()
            .map(|name| AddedToken::from(name.clone(), true))
            .collect()
    }
}

type ByteBpe = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, ByteLevel>;

/// Learns a byte-level BPE of at most `vocab_size` tokens (256 bytes and the special tokens included).
///
/// The same texts give the same files, in any order of the texts: merges are chosen by count, then by token.
///
/// # Errors
/// When `vocab_size` has no room for the bytes and the special tokens.
pub fn train_bpe<'a>(
    texts: impl Iterator<Item = &'a str> + Send,
    vocab_size: usize,
    special_tokens: &SpecialTokens,
) -> Result<TokenizerFiles> {
    let special = special_tokens.all();
    let least = 256 + special.len();
    if vocab_size < least {
        return Err(Error::user(format!(
            "a vocabulary of {vocab_size} has no room for 256 bytes and {} special tokens",
            special.len()
        ))
        .hint(format!("ask for at least {least}")));
    }
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(special)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let pre_tokenizer = ByteLevel::new(false, true, true);
    let mut tokenizer: ByteBpe = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(pre_tokenizer))
        .with_post_processor(None)
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .map_err(failed)?;
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    let mut config =
        json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special_tokens.eos});
    for (name, token) in [
        ("bos_token", &special_tokens.bos),
        ("pad_token", &special_tokens.pad),
    ] {
        if let Some(token) = token {
            config[name] = token.as_str().into();
        }
    }
    let eos = tokenizer.token_to_id(&special_tokens.eos);
    Ok(TokenizerFiles {
        tokenizer_json: tokenizer.to_string(true).map_err(failed)?,
        tokenizer_config: config,
        eos_token_ids: eos.into_iter().collect(),
        ..TokenizerFiles::default()
    })
}

fn failed(error: tokenizers::Error) -> Error {
    Error::internal(format!("cannot train the tokenizer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Tokenizer;

    fn special() -> SpecialTokens {
        SpecialTokens {
            eos: "<|end|>".to_string(),
            others: vec!["<|user|>".to_string(), "<|end|>".to_string()],
            ..SpecialTokens::default()
        }
    }

    #[test]
    fn the_same_texts_give_the_same_files_in_any_order() {
        let texts = [
            "the cat sat on the mat",
            "the dog sat",
            "a cat and a dog",
            "naïve 🦀",
        ];
        let forward = train_bpe(texts.into_iter(), 300, &special()).expect("trained");
        let backward = train_bpe(texts.into_iter().rev(), 300, &special()).expect("trained");
        assert_eq!(forward.tokenizer_json, backward.tokenizer_json);
    }

    #[test]
    fn every_byte_survives_and_special_tokens_come_first() {
        let files = train_bpe(["the the the"].into_iter(), 270, &special()).expect("trained");
        let tokenizer = Tokenizer::new(&files).expect("loads");
        let text = "the  ünseen\n\t🦀 <|user|>";
        let ids = tokenizer.encode(text).expect("encoded");
        assert_eq!(tokenizer.decode(&ids, false).expect("decoded"), text);
        assert_eq!((tokenizer.eos(), tokenizer.pad()), (0, 0));
        assert_eq!(ids.last(), Some(&1));
        assert!(tokenizer.is_special(1) && !tokenizer.is_special(2));
        assert!(tokenizer.vocab_size() <= 270);
        assert_eq!(tokenizer.encode("the the").expect("encoded").len(), 2);
    }

    #[test]
    fn too_small_a_vocabulary_names_the_smallest() {
        let error = train_bpe([].into_iter(), 100, &special()).expect_err("too small");
        assert!(error.to_string().contains("at least 258"), "{error}");
    }
}
