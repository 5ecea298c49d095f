//! NVIDIA's CUDA and AMD's ROCm. Their drivers are libraries that are loaded while the program runs, and Burn panics where
//! they are missing: they are asked first.

use super::{DeviceError, Found};
use burn::tensor::Device;
use libloading::{Library, Symbol};
use std::ffi::{CStr, c_char, c_int};

/// A vendor's driver: what it is called, where it lies, and the names of the same five functions in it.
struct Driver {
    backend: &'static str,
    libraries: &'static [&'static str],
    init: &'static [u8],
    count: &'static [u8],
    name: &'static [u8],
    memory: &'static [u8],
    version: &'static [u8],
    open: fn(usize) -> Device,
    mend: &'static str,
}

const DRIVERS: &[Driver] = &[
    #[cfg(feature = "cuda")]
    Driver {
        backend: "cuda",
        libraries: &["libcuda.so.1", "libcuda.so", "nvcuda.dll"],
        init: b"cuInit\0",
        count: b"cuDeviceGetCount\0",
        name: b"cuDeviceGetName\0",
        memory: b"cuDeviceTotalMem_v2\0",
        version: b"cuDriverGetVersion\0",
        open: |index| Device::cuda(index),
        mend: "install NVIDIA's driver",
    },
    #[cfg(feature = "rocm")]
    Driver {
        backend: "rocm",
        libraries: &[
            "libamdhip64.so",
            "/opt/rocm/lib/libamdhip64.so",
            "libamdhip64.so.6",
            "libamdhip64.so.7",
            "amdhip64.dll",
        ],
        init: b"hipInit\0",
        count: b"hipGetDeviceCount\0",
        name: b"hipDeviceGetName\0",
        memory: b"hipDeviceTotalMem\0",
        version: b"hipDriverGetVersion\0",
        open: |index| Device::rocm(index),
        mend: "install ROCm",
    },
];

/// Both vendors return 0 for success; a device's handle is its number.
type Init = unsafe extern "C" fn(u32) -> c_int;
type Number = unsafe extern "C" fn(*mut c_int) -> c_int;
type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type Memory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;

impl Driver {
    /// The cards, or none where the driver is missing.
    fn cards(&self) -> Option<Vec<Found>> {
        // SAFETY: loading a graphics driver runs its initialisers, as using it would.
        let library = self
            .libraries
            .iter()
            .find_map(|name| unsafe { Library::new(*name) }.ok())?;
        // A driver that runs threads of its own is never unloaded.
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: these are the functions' types in the vendors' headers (cuda.h, hip_runtime_api.h).
        unsafe {
            let init: Symbol<Init> = library.get(self.init).ok()?;
            let count: Symbol<Number> = library.get(self.count).ok()?;
            let name: Symbol<Name> = library.get(self.name).ok()?;
            let memory: Symbol<Memory> = library.get(self.memory).ok()?;
            let version: Symbol<Number> = library.get(self.version).ok()?;
            let number = |of: &Symbol<Number>| {
                let mut number = 0;
                (of(&raw mut number) == 0).then_some(number)
            };
            if init(0) != 0 {
                return None;
            }
            let driver = number(&version).unwrap_or_default();
            let cards = (0..number(&count)?).map(|index| {
                let (mut called, mut bytes) = ([0 as c_char; 256], 0usize);
                let named = name(called.as_mut_ptr(), 255, index) == 0;
                let told = memory(&raw mut bytes, index) == 0;
                let text = CStr::from_ptr(called.as_ptr()).to_string_lossy();
                Found {
                    backend: self.backend,
                    index: index as usize,
                    name: if named {
                        text.into_owned()
                    } else {
                        "a card".to_owned()
                    },
                    driver: format!("{} {driver}", self.backend),
                    memory_bytes: told.then_some(bytes as u64),
                    software: false,
                }
            });
            Some(cards.collect())
        }
    }
}

/// Every card of the vendors whose backends are compiled in.
pub fn found() -> Vec<Found> {
    DRIVERS.iter().filter_map(Driver::cards).flatten().collect()
}

/// Card `index` of a vendor's backend; none where it is not compiled in.
pub fn open(backend: &str, index: usize) -> Option<Result<Device, DeviceError>> {
    let driver = DRIVERS.iter().find(|driver| driver.backend == backend)?;
    let missing = |fact: String, hint: String| Some(Err(DeviceError::new(fact, hint)));
    match driver.cards() {
        None => missing(
            format!("the driver of {backend} is missing or does not start"),
            format!("{}, or use --backend cpu", driver.mend),
        ),
        Some(cards) if index >= cards.len() => missing(
            format!(
                "there is no {backend} device {index}: there are {}",
                cards.len()
            ),
            "use one that `duel devices` lists, or --backend cpu".to_owned(),
        ),
        Some(_) => Some(
            super::probe::guarded(|| computing((driver.open)(index))).ok_or_else(|| {
                DeviceError::new(
                    format!("{backend} device {index} does not open"),
                    "update its driver, or use --backend cpu",
                )
            }),
        ),
    }
}

/// The device, once it has computed something: a compiler that is missing shows at the first kernel.
fn computing(device: Device) -> Device {
    let one = burn::tensor::Tensor::<1>::ones([1], &device) + 1.0;
    // Only a number that is looked at was waited for.
    assert_eq!(one.into_data().iter::<f32>().next(), Some(2.0));
    device
}
