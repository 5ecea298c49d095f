//! One decoder for Llama, Mistral, Qwen2 and Qwen3, and its files.

pub mod files;
pub mod spec;

pub use spec::{Architecture, DecoderSpec, Head, Rope, RopeScaling};
