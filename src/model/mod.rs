//! One decoder for Llama, Mistral, Qwen2, Qwen3, Gemma and Gemma 2, and its files.

pub mod build;
mod cache;
mod decoder;
pub mod files;
pub mod gated;
pub mod init;
mod linear;
mod load;
pub mod memory;
pub mod params;
mod rope;
mod served;
pub mod spec;
mod tape;
pub mod tree;

pub use build::{Kept, LoraShape};
pub use cache::Cache;
pub use decoder::Decoder;
pub use gated::{Gate, GateShape, Gated, Opinions};
pub use linear::{Linear, Lora};
pub use load::{Model, must_write, spec_of};
pub use served::Served;
pub use spec::{Activation, Architecture, DecoderSpec, Head, Rope, RopeScaling};
pub use tape::EmbeddedGradient;
pub use tree::Tree;
