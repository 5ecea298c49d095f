//! Devices and fused ops: the only crate of duel that names a Burn backend, touches a driver, holds a
//! backend `cfg`, or writes a kernel.
//!
//! - [`clock`]: where the time goes
//! - [`device`]: open a device by name, list what is there
//! - [`ops`]: the ops that matter, each with a reference body in plain tensor ops (any device; the test
//!   oracle), a CPU body and kernels for graphics cards, with their own backward pass

pub mod clock;
pub mod device;
pub mod ops;

mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod simd;
#[cfg(feature = "cube")]
mod tried;
