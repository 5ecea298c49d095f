//! The processor: Burn's flex, what every other device is checked against.

use super::{DeviceError, Found};
use burn::tensor::Device;

/// The only CPU.
pub fn open(index: usize) -> Result<Device, DeviceError> {
    match index {
        0 => Ok(Device::flex()),
        _ => Err(DeviceError::new(
            format!("there is no cpu device {index}: the CPU is one device"),
            "use --device 0, or leave --device out",
        )),
    }
}

/// The CPU as the machine describes it.
pub fn found() -> Found {
    let threads = rayon::current_num_threads();
    Found {
        backend: "cpu",
        index: 0,
        name: format!("{} ({threads} threads, {})", name(), crate::simd::name()),
        driver: String::new(),
        memory_bytes: memory(),
        software: false,
    }
}

/// The processor's own name where the system tells it.
fn name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    match line.and_then(|line| line.split_once(':')) {
        Some((_, name)) => name.trim().to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

/// All memory of the machine, where the system tells it.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kib)
}
