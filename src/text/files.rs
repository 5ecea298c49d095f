//! The files that make a tokenizer, as Hugging Face lays them out.

/// What a model directory (or a GGUF's metadata) says about its tokenizer.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// `tokenizer.json`, whole.
    pub tokenizer_json: String,
    /// `tokenizer_config.json`, an object (empty where the model has none).
    pub tokenizer_config: serde_json::Value,
    /// The chat template's Jinja source: `chat_template.jinja`, or the field of `tokenizer_config.json`.
    pub chat_template: Option<String>,
    /// End-of-sequence ids of `generation_config.json` / `config.json`; generation stops at any of them.
    pub eos_token_ids: Vec<u32>,
}
