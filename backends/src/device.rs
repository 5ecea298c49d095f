//! Open a device by name. A backend that is not there is an error with the next best command.

use burn::tensor::Device;
use serde::Serialize;
use std::fmt;

/// Why a device cannot be opened, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError {
    /// The fact and its reason.
    pub message: String,
    /// The command to try.
    pub hint: String,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}

impl std::error::Error for DeviceError {}

/// Names that `--backend` takes.
pub const BACKENDS: [&str; 7] = ["auto", "cpu", "vulkan", "metal", "webgpu", "cuda", "rocm"];

/// One device that this binary can or could use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// What `--backend` calls it.
    pub backend: &'static str,
    /// What the machine calls it.
    pub name: String,
    /// Number formats that were seen to compute right on it.
    pub dtypes: Vec<&'static str>,
    /// `auto` takes this one.
    pub chosen: bool,
    /// Why it is or is not usable.
    pub note: String,
}

/// Opens `backend` number `index`.
///
/// # Errors
/// An unknown name, a backend that is not compiled in, or an index that does not exist.
pub fn open(backend: &str, index: usize) -> Result<Device, DeviceError> {
    match backend {
        "auto" | "cpu" if index == 0 => Ok(Device::flex()),
        "auto" | "cpu" => Err(DeviceError {
            message: format!("there is no {backend} device {index}: the CPU is one device"),
            hint: "use --device 0, or leave --device out".into(),
        }),
        name if BACKENDS.contains(&name) => Err(DeviceError {
            message: format!("the backend {name} is not compiled into this binary"),
            hint: "use --backend cpu; `duel devices` lists what is there".into(),
        }),
        name => Err(DeviceError {
            message: format!("unknown backend {name:?}"),
            hint: format!("use one of {}", BACKENDS.join(", ")),
        }),
    }
}

/// Every backend this binary knows, with what is usable on this machine.
pub fn list() -> Vec<DeviceInfo> {
    let threads = rayon::current_num_threads();
    let cpu = DeviceInfo {
        backend: "cpu",
        name: format!(
            "{} ({threads} threads, {})",
            cpu_name(),
            crate::simd::name()
        ),
        dtypes: computing_dtypes(&Device::flex()),
        chosen: true,
        note: "Burn's flex with duel's fused ops".into(),
    };
    let absent = BACKENDS[2..].iter().map(|backend| DeviceInfo {
        backend,
        name: String::new(),
        dtypes: Vec::new(),
        chosen: false,
        note: "not compiled into this binary".into(),
    });
    std::iter::once(cpu).chain(absent).collect()
}

/// The formats in which a small matrix product comes out right: tried, not asked.
fn computing_dtypes(device: &Device) -> Vec<&'static str> {
    use burn::tensor::{DType, Tensor};
    [
        ("f32", DType::F32),
        ("bf16", DType::BF16),
        ("f16", DType::F16),
    ]
    .into_iter()
    .filter(|(_, dtype)| {
        let a = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], device).cast(*dtype);
        let product = a.clone().matmul(a).cast(DType::F32).into_data();
        product
            .try_to_vec::<f32>()
            .is_ok_and(|v| v == [7.0, 10.0, 15.0, 22.0])
    })
    .map(|(name, _)| name)
    .collect()
}

/// The processor's own name where the system tells it.
fn cpu_name() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_there_is_an_error_with_a_command() {
        let error = open("cuda", 0).unwrap_err();
        assert!(error.message.contains("not compiled"), "{error}");
        assert!(error.hint.contains("--backend cpu"), "{error}");
        assert!(open("gpu", 0).unwrap_err().hint.contains("vulkan"));
        assert!(open("cpu", 3).is_err());
    }

    #[test]
    fn the_cpu_computes_in_f32_at_least() {
        let devices = list();
        assert!(devices[0].dtypes.contains(&"f32"));
        assert!(devices[0].chosen);
    }
}
