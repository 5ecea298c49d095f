//! How much a graphics card can hold, asked of the driver behind wgpu: each API has a way of its own.

use burn::tensor::wgpu::wgpu;

/// Bytes that an adapter can hold: a card's own memory, or what an integrated one may take of the machine's. None where
/// the driver does not tell.
pub fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    let bytes = match adapter.get_info().backend {
        wgpu::Backend::Vulkan => vulkan(adapter),
        wgpu::Backend::Metal => metal(adapter),
        wgpu::Backend::Dx12 => dx12(adapter),
        _ => None,
    };
    bytes.filter(|bytes| *bytes > 0)
}

/// The largest heap on the card: some drivers split the part that the processor can write to off from it. An integrated card
/// takes what all heaps have together.
#[cfg(not(target_vendor = "apple"))]
fn vulkan(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handle is only read, while the guard lives.
    let heaps = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = heaps.memory_heaps[..heaps.memory_heap_count as usize].iter();
    if adapter.get_info().device_type == wgpu::DeviceType::IntegratedGpu {
        return Some(heaps.map(|heap| heap.size).sum());
    }
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.
    let on_card = heaps.filter(|heap| heap.flags.as_raw() & 1 == 1);
    on_card.map(|heap| heap.size).max()
}

#[cfg(target_vendor = "apple")]
fn vulkan(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// What macOS lets one process keep on the card before it is slowed down: about three quarters of the machine's memory.
#[cfg(target_vendor = "apple")]
fn metal(adapter: &wgpu::Adapter) -> Option<u64> {
    use objc2_metal::MTLDevice;
    // SAFETY: the handle is only read, while the guard lives.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>()? };
    Some(adapter.raw_device().recommendedMaxWorkingSetSize())
}

#[cfg(not(target_vendor = "apple"))]
fn metal(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// A card's own memory, or what an integrated one may take of the machine's.
#[cfg(windows)]
fn dx12(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handle is only read, while the guard lives.
    let told = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Dx12>()?;
        adapter.raw_adapter().GetDesc1().ok()?
    };
    let shared = adapter.get_info().device_type != wgpu::DeviceType::DiscreteGpu;
    let taken = if shared { told.SharedSystemMemory } else { 0 };
    Some((told.DedicatedVideoMemory + taken) as u64)
}

#[cfg(not(windows))]
fn dx12(_: &wgpu::Adapter) -> Option<u64> {
    None
}
