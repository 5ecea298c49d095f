//! K samples a prompt from one shared prefix.

mod engine;
mod sample;

pub use engine::{Drawn, Engine, Finish, Prompted};
pub use sample::Sampler;
