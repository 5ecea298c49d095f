//! K samples a prompt from one shared prefix.

mod engine;
mod sample;

pub use engine::{Drawn, Engine, Finish, Prompted, precision};
pub use sample::Sampler;
