//! Graphics cards of any vendor through wgpu. Each graphics API is a backend of its own name; `webgpu` is the API that
//! the platform has.

use super::{DeviceError, Found, cpu, heaps};
use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Backends that are opened here, with their graphics APIs.
const NAMES: [(&str, WgpuBackend, wgpu::Backends); 3] = [
    ("vulkan", WgpuBackend::Vulkan, wgpu::Backends::VULKAN),
    ("metal", WgpuBackend::Metal, wgpu::Backends::METAL),
    ("dx12", WgpuBackend::Dx12, wgpu::Backends::DX12),
];

/// The API of a backend's name; none of one that is opened elsewhere.
pub fn api(backend: &str) -> Option<WgpuBackend> {
    if backend == "webgpu" {
        return Some(match std::env::consts::OS {
            "macos" | "ios" => WgpuBackend::Metal,
            "windows" => WgpuBackend::Dx12,
            _ => WgpuBackend::Vulkan,
        });
    }
    let named = NAMES.iter().find(|(name, ..)| *name == backend);
    named.map(|(_, api, _)| *api)
}

/// An adapter, what it holds, and what Burn calls it.
struct Adapter {
    info: wgpu::AdapterInfo,
    memory_bytes: Option<u64>,
    kind: DeviceKind,
}

/// The adapters of an API, graphics cards before software. Burn counts each type of card on its own.
fn adapters(api: WgpuBackend) -> Vec<Adapter> {
    let Some((_, _, backends)) = NAMES.iter().find(|(_, known, _)| *known == api) else {
        return Vec::new();
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: *backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut counts = [0usize; 3];
    let mut next = |of: usize| {
        counts[of] += 1;
        counts[of] - 1
    };
    let all = ready(instance.enumerate_adapters(*backends)).unwrap_or_default();
    let kinds = all.iter().filter_map(|adapter| {
        let info = adapter.get_info();
        if ends_the_process(api, &info) {
            return None;
        }
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(next(0)),
            wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(next(1)),
            wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(next(2)),
            wgpu::DeviceType::Cpu => DeviceKind::Cpu,
            wgpu::DeviceType::Other => return None,
        };
        Some(Adapter {
            info,
            memory_bytes: match kind {
                // Its driver tells some number; what it takes is the processor's.
                DeviceKind::Cpu => Some(cpu::memory()),
                _ => heaps::memory(adapter),
            },
            kind,
        })
    });
    let mut adapters: Vec<Adapter> = kinds.collect();
    adapters.sort_by_key(|adapter| adapter.info.device_type == wgpu::DeviceType::Cpu);
    // Burn has one name for all software adapters.
    adapters.dedup_by_key(|adapter| adapter.kind.clone());
    adapters
}

/// Mesa's software Vulkan dies of the kernels that Burn compiles to SPIR-V (seen with 22.3 and 25.0); in WGSL it is right.
fn ends_the_process(api: WgpuBackend, info: &wgpu::AdapterInfo) -> bool {
    let in_spirv = cfg!(feature = "vulkan") && api == WgpuBackend::Vulkan;
    in_spirv && info.device_type == wgpu::DeviceType::Cpu
}

/// The result of a future that waits for nobody, as wgpu's are outside of browsers.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Every adapter of every API.
pub fn found() -> Vec<Found> {
    let of_api = |(name, api, _): (&'static str, WgpuBackend, wgpu::Backends)| {
        let adapters = adapters(api).into_iter().enumerate();
        adapters.map(move |(index, adapter)| Found {
            backend: name,
            index,
            name: adapter.info.name.clone(),
            driver: format!("{} {}", adapter.info.driver, adapter.info.driver_info),
            memory_bytes: adapter.memory_bytes,
            software: adapter.info.device_type == wgpu::DeviceType::Cpu,
        })
    };
    NAMES.into_iter().flat_map(of_api).collect()
}

/// Opens adapter `index` of an API, or gives the one that is open.
pub fn open(backend: &str, api: WgpuBackend, index: usize) -> Result<Device, DeviceError> {
    static OPENED: Mutex<Vec<(WgpuBackend, usize, Device)>> = Mutex::new(Vec::new());
    let mut opened = OPENED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((.., device)) = opened.iter().find(|(a, i, _)| (*a, *i) == (api, index)) {
        return Ok(device.clone());
    }
    let adapters = adapters(api);
    let Some(adapter) = adapters.get(index) else {
        return Err(match adapters.len() {
            0 if cfg!(feature = "vulkan") && api == WgpuBackend::Vulkan => DeviceError::new(
                format!(
                    "no adapter answers to {backend}: there is no graphics card, its driver is missing, or it is a software \
                     driver, which dies of this build's kernels (SPIR-V)"
                ),
                "use --backend cpu; a build with --features webgpu runs on software drivers",
            ),
            0 => DeviceError::new(
                format!(
                    "no adapter answers to {backend}: there is no graphics card, or its driver is missing"
                ),
                format!("{}, or use --backend cpu", mend(api)),
            ),
            count => DeviceError::new(
                format!("there is no {backend} device {index}: there are {count}"),
                "use one that `duel devices` lists",
            ),
        });
    };
    let options = Device::wgpu_options()
        .device_kind(adapter.kind.clone())
        .graphics_api(api);
    let device = options.init().map_err(|error| {
        DeviceError::new(
            format!(
                "{backend} device {index} ({}) does not open: {error}",
                adapter.info.name
            ),
            "update its driver, or use --backend cpu",
        )
    })?;
    opened.push((api, index, device.clone()));
    Ok(device)
}

/// What to install for an API.
fn mend(api: WgpuBackend) -> &'static str {
    match api {
        WgpuBackend::Vulkan => {
            "install the card's Vulkan driver (mesa-vulkan-drivers on Debian and Ubuntu for AMD and Intel)"
        }
        WgpuBackend::Metal => "Metal is there on macOS alone",
        _ => "DirectX 12 is there on Windows alone",
    }
}
