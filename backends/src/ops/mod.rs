//! The ops that matter, one file or folder each: a reference body in plain tensor ops, a CPU body, kernels for graphics
//! cards, and a backward pass of its own. A tensor that no fused body serves (another dtype) takes the reference body, so
//! every device can do everything.

pub mod adamw;
pub mod adamw_8bit;
pub mod add_rows;
pub mod attention;
pub mod draw;
pub mod linear;
pub mod low_rank;
pub mod nf4;
pub mod penalty;
pub mod rms_norm;
pub mod rotary;
pub mod served;
pub mod swiglu;
pub mod target_logprobs;
pub mod write_rows;

pub use adamw::{AdamW, adamw};
pub use adamw_8bit::{Moments8bit, adamw_8bit};
pub use add_rows::add_rows;
pub use attention::{KeySpan, QuerySegment, Scores, Spans, attention};
pub use draw::{Draw, draw};
pub use linear::{Operands, linear};
pub use low_rank::low_rank;
pub use nf4::Nf4;
pub use penalty::{Held, penalise};
pub use rms_norm::rms_norm;
pub use rotary::rotary;
pub use served::{Precision, Served};
pub use swiglu::swiglu;
pub use target_logprobs::{TargetLogprobs, target_logprobs};
pub use write_rows::write_rows;

/// Whether a tensor lies where the ops that have all bodies have a fused one.
fn fused<const D: usize>(tensor: &burn::tensor::Tensor<D>) -> bool {
    #[cfg(feature = "cube")]
    if crate::cube::serves(tensor) {
        return true;
    }
    crate::cpu::serves(tensor)
}
