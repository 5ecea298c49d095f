//! Where the time goes: wall time by kind of work, counted only while somebody asks.
//!
//! The ops of one step run one after another on the thread that calls them (each spreads over the others by
//! itself), so the kinds add up to the step, and what is missing is everything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Linear layers, forward and backward.
    Matmul,
    /// Attention.
    Attention,
    /// The output head with its softmax.
    Head,
    /// Norms, rotary positions, SwiGLU.
    Elementwise,
    /// The update of the weights and the gradient's norm.
    Optimiser,
    /// Waiting for the tries of token sequences.
    Data,
    /// Drawing tokens from logits.
    Sampling,
}

/// Every kind with its name in tables.
pub const KINDS: [(Work, &str); 7] = [
    (Work::Matmul, "matmul"),
    (Work::Attention, "attention"),
    (Work::Head, "head"),
    (Work::Elementwise, "elementwise"),
    (Work::Optimiser, "optimiser"),
    (Work::Data, "data"),
    (Work::Sampling, "sampling"),
];

static RUNNING: AtomicBool = AtomicBool::new(false);
static NANOSECONDS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Sets every count to zero and begins to count.
pub fn start() {
    for count in &NANOSECONDS {
        count.store(0, Ordering::Relaxed);
    }
    RUNNING.store(true, Ordering::Relaxed);
}

/// Stops counting: seconds by kind since [`start`], in the order of [`KINDS`].
pub fn stop() -> [(&'static str, f64); KINDS.len()] {
    RUNNING.store(false, Ordering::Relaxed);
    KINDS.map(|(work, name)| {
        let count = NANOSECONDS[work as usize].load(Ordering::Relaxed);
        (name, count as f64 * 1e-9)
    })
}

/// Runs `f` and counts its time as `work`.
pub fn measure<R>(work: Work, f: impl FnOnce() -> R) -> R {
    if !RUNNING.load(Ordering::Relaxed) {
        return f();
    }
    let began = Instant::now();
    let result = f();
    NANOSECONDS[work as usize].fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_what_is_asked_for_is_counted() {
        let nap = || std::thread::sleep(Duration::from_millis(3));
        measure(Work::Data, nap);
        start();
        measure(Work::Sampling, nap);
        let of = |kind: &str, all: [(&str, f64); KINDS.len()]| {
            all.iter().find(|(name, _)| *name == kind).map(|(_, s)| *s)
        };
        let counted = stop();
        assert!(of("sampling", counted).is_some_and(|seconds| seconds >= 0.003));
        assert_eq!(of("data", counted), Some(0.0));
        measure(Work::Sampling, nap);
        let again = stop();
        assert_eq!(of("sampling", again), of("sampling", counted));
    }
}
