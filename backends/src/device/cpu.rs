//! The processor: Burn's flex, what every other device is checked against.

use super::{DeviceError, Found};
use burn::tensor::Device;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

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
        memory_bytes: Some(memory()),
        software: false,
    }
}

/// The processor's own name where the system tells it.
fn name() -> String {
    let only = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(only);
    let named = system.cpus().first().map(|cpu| cpu.brand().trim());
    match named.filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

/// What this process may take: all memory of the machine, or of the container that it runs in.
pub fn memory() -> u64 {
    let only = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(only);
    let whole = system.total_memory();
    system
        .cgroup_limits()
        .map_or(whole, |limits| whole.min(limits.total_memory))
}
