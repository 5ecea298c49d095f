//! Open a device by name. A backend that is not there is an error with the next best command, never a panic.
//!
//! - `auto`: which device is taken where none is named
//! - `cpu`: the processor, always there
//! - `wgpu`: graphics cards of any vendor, by Vulkan, Metal or DirectX 12 (feature `webgpu`); `heaps`: what they hold
//! - `vendor`: CUDA and ROCm (features of these names)
//! - `probe`: what a device really computes, and how fast

mod auto;
mod cpu;
#[cfg(feature = "webgpu")]
mod heaps;
mod probe;
#[cfg(any(feature = "cuda", feature = "rocm"))]
mod vendor;
#[cfg(feature = "webgpu")]
mod wgpu;

pub use auto::{Chosen, choose};
pub use probe::{computes, matrix_rate, narrowest};

use crate::ops::Operands;
use burn::backend::DispatchDevice;
use burn::tensor::Device;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// Why a device cannot be opened, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError {
    /// The fact and its reason.
    pub message: String,
    /// The command to try.
    pub hint: String,
}

impl DeviceError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}

impl std::error::Error for DeviceError {}

/// Names that `--backend` takes.
pub const BACKENDS: [&str; 8] = [
    "auto", "cpu", "vulkan", "metal", "dx12", "webgpu", "cuda", "rocm",
];

/// One device that this binary can use, before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What `--backend` calls it.
    pub backend: &'static str,
    /// What `--device` calls it.
    pub index: usize,
    /// What the machine calls it.
    pub name: String,
    /// The driver and its version, where the system tells it.
    pub driver: String,
    /// Memory of its own or shared with the processor, where the system tells it.
    pub memory_bytes: Option<u64>,
    /// A processor that stands in for a graphics card: correct, but slower than the CPU backend.
    pub software: bool,
}

/// One row of `duel devices`: a device that was tried, or a backend without one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// What `--backend` calls it.
    pub backend: &'static str,
    /// What `--device` calls it; none where there is no device.
    pub device: Option<usize>,
    /// What the machine calls it.
    pub name: String,
    /// The driver and its version.
    pub driver: String,
    /// Its memory, where the system tells it.
    pub memory_bytes: Option<u64>,
    /// Number formats that were seen to compute right on it.
    pub dtypes: Vec<&'static str>,
    /// Floating-point operations a second of one f32 matrix product, in billions.
    pub matmul_gflops: Option<f64>,
    /// Tokens a second of a training step of one block, forward and backward in f32, which `auto` goes by. None of a
    /// software renderer.
    pub step_tokens_per_second: Option<f64>,
    /// `auto` takes this one.
    pub chosen: bool,
    /// Why it is or is not usable.
    pub note: String,
}

/// Opens `backend` number `index`.
///
/// # Errors
/// An unknown name, a backend that is not compiled in, a driver that is missing, or an index that does not exist.
pub fn open(backend: &str, index: usize) -> Result<Device, DeviceError> {
    match backend {
        "auto" => match index {
            0 => {
                let chosen = &choose().device;
                open(chosen.backend, chosen.index)
            }
            _ => Err(DeviceError::new(
                format!("`auto` chooses the device itself: it has no number {index}"),
                "leave --device out, or name the backend too; `duel devices` lists what is there",
            )),
        },
        "cpu" => cpu::open(index),
        name if BACKENDS.contains(&name) => graphics(name, index),
        name => Err(DeviceError::new(
            format!("unknown backend {name:?}"),
            format!("use one of {}", BACKENDS.join(", ")),
        )),
    }
}

fn graphics(backend: &str, index: usize) -> Result<Device, DeviceError> {
    #[cfg(any(feature = "cuda", feature = "rocm"))]
    if let Some(opened) = vendor::open(backend, index) {
        return opened;
    }
    #[cfg(feature = "webgpu")]
    if let Some(api) = wgpu::api(backend) {
        return wgpu::open(backend, api, index);
    }
    let _ = index;
    Err(absent(backend))
}

fn absent(backend: &str) -> DeviceError {
    let feature = match backend {
        "cuda" | "rocm" => backend,
        _ => "webgpu",
    };
    DeviceError::new(
        format!("the backend {backend} is not compiled into this binary"),
        format!(
            "build duel with `--features {feature}`, or use --backend cpu; `duel devices` lists what is there"
        ),
    )
}

/// What the number of rows of a batch should be a multiple of on `device`. A graphics card reads whole vectors and fills
/// whole tiles, and has another kernel for a remainder; the CPU takes any number.
pub fn row_multiple(device: &Device) -> usize {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Flex(_) => 1,
        #[allow(unreachable_patterns)] // a build for the CPU alone has no other device
        _ => 64,
    }
}

/// Keeps what is found out about kernels on this machine (which of several is the fastest) in `folder`, if it is said before
/// anything is computed; otherwise only as long as the process runs.
pub fn keep_kernels_in(folder: &Path) {
    #[cfg(feature = "cube")]
    crate::tried::keep_in(folder);
    let _ = folder;
}

/// Every device of the backends that are compiled in, not yet opened: the CPU first. Drivers are asked once a process.
pub fn found() -> Vec<Found> {
    static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            #[allow(unused_mut)]
            let mut found = vec![cpu::found()];
            #[cfg(feature = "webgpu")]
            found.extend(wgpu::found());
            #[cfg(any(feature = "cuda", feature = "rocm"))]
            found.extend(vendor::found());
            found
        })
        .clone()
}

/// The device that a name and a number mean, not yet opened; none where there is none.
pub fn find(backend: &str, index: usize) -> Option<Found> {
    let name = match (backend, std::env::consts::OS) {
        ("auto", _) => return Some(choose().device.clone()),
        // Always there: no driver is asked.
        ("cpu", _) => return (index == 0).then(cpu::found),
        // The platform's own API, as in `wgpu::api`.
        ("webgpu", "macos" | "ios") => "metal",
        ("webgpu", "windows") => "dx12",
        ("webgpu", _) => "vulkan",
        (name, _) => name,
    };
    let named = |found: &Found| found.backend == name && found.index == index;
    found().into_iter().find(named)
}

/// Every backend this binary knows, with what is usable on this machine: each device is opened and tried.
pub fn list() -> Vec<DeviceInfo> {
    let chosen = choose();
    let why = chosen.why;
    let found = found();
    let mut rows: Vec<DeviceInfo> = Vec::new();
    for backend in &BACKENDS[1..] {
        let devices = found.iter().filter(|found| found.backend == *backend);
        let before = rows.len();
        rows.extend(devices.map(|found| {
            let chosen = *found == chosen.device;
            tried(found, chosen.then_some(why))
        }));
        if rows.len() == before {
            rows.push(without_device(backend));
        }
    }
    rows
}

/// A device after it was opened and tried; `chosen` says why `auto` takes it.
fn tried(found: &Found, chosen: Option<&str>) -> DeviceInfo {
    let opened = open(found.backend, found.index);
    let (dtypes, rate, note) = match &opened {
        Ok(device) => (
            probe::computing_dtypes(device),
            probe::guarded(|| matrix_rate(device, Operands::F32)),
            match (found.backend, found.software) {
                ("cpu", _) => "Burn's flex with duel's fused ops".to_owned(),
                (_, true) => {
                    "a processor that draws for a graphics card: right, but slow".to_owned()
                }
                (_, false) => "duel's fused ops by CubeCL".to_owned(),
            },
        ),
        Err(error) => (Vec::new(), None, error.message.clone()),
    };
    let steps = opened.as_ref().ok().filter(|_| !found.software);
    let steps = steps.and_then(|device| probe::guarded(|| probe::step_rate(device)));
    let note = match (&opened, rate) {
        (Ok(_), None) => "it opens, but a matrix product fails on it".to_owned(),
        _ => note,
    };
    let note = match chosen {
        Some(why) => format!("{note}; auto takes it: {why}"),
        None => note,
    };
    DeviceInfo {
        backend: found.backend,
        device: Some(found.index),
        name: found.name.clone(),
        driver: found.driver.clone(),
        memory_bytes: found.memory_bytes,
        dtypes,
        matmul_gflops: rate.map(|rate| (rate * 1e-8).round() / 10.0),
        step_tokens_per_second: steps.map(f64::round),
        chosen: chosen.is_some(),
        note,
    }
}

/// A backend that has no device, and why.
fn without_device(backend: &'static str) -> DeviceInfo {
    let note = match open(backend, 0) {
        Err(error) => error.message,
        Ok(_) => "another name for a device above".to_owned(),
    };
    DeviceInfo {
        backend,
        device: None,
        name: String::new(),
        driver: String::new(),
        memory_bytes: None,
        dtypes: Vec::new(),
        matmul_gflops: None,
        step_tokens_per_second: None,
        chosen: false,
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_there_is_an_error_with_a_command() {
        let error = open("cuda", 0).unwrap_err();
        let compiled = cfg!(feature = "cuda");
        assert_ne!(error.message.contains("not compiled"), compiled, "{error}");
        assert!(error.hint.contains("--backend cpu"), "{error}");
        assert!(open("gpu", 0).unwrap_err().hint.contains("vulkan"));
        assert!(open("cpu", 3).is_err());
        assert!(open("auto", 1).is_err());
    }

    #[test]
    fn a_card_that_does_not_exist_is_an_error_whether_or_not_cards_are_compiled_in() {
        for backend in &BACKENDS[2..] {
            let error = open(backend, 77).unwrap_err();
            assert!(!error.hint.is_empty(), "{backend}: {error}");
        }
    }

    #[test]
    fn the_cpu_computes_in_f32_at_least_and_one_device_is_chosen() {
        let devices = list();
        assert!(devices[0].dtypes.contains(&"f32"));
        assert!(devices[0].matmul_gflops.is_some_and(|rate| rate > 0.0));
        assert!(
            devices[0]
                .step_tokens_per_second
                .is_some_and(|rate| rate > 0.0)
        );
        assert_eq!(devices.iter().filter(|device| device.chosen).count(), 1);
    }
}
